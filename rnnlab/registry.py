"""The registry of cells and layers: one entry per name, from which everything else is derived.

`rnnlab.CELLS`, the layers of a model, its options on the command line, labels and colors of
figures, the peers of the benchmarks and the table of cells in the docs all follow from `REGISTRY`.
This module does not import JAX: an entry imports its class when `load` is called.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from rnnlab.load_module import is_reference, load_class

USER_COLOR = "#000000"
"""Color of a user's cell whose class does not set `color`."""


def _no_options(k: int) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class CellEntry:
    """A cell or layer and what the package needs to know about it.

    Attributes:
      name: name in `REGISTRY` and on the command line; `FILE.py:CLASS` for a user's class.
      target: where its class is, as `module:Class` or `FILE.py:CLASS`.
      label: name in figures and tables.
      color: color in all figures, as `#RRGGBB`.
      summary: one sentence for the docs and `rnnlab list`.
      kind: "cell" keeps the contract of `rnnlab.testing.check_cell` and is in `rnnlab.CELLS`;
        "layer" is another sequence layer of a model.
      compared_with: name of the classic cell that it replaces, or None. Benchmarks report the times
        of a classic cell relative to the cell that is compared with it.
      torch: its peer in PyTorch: a class of `torch.nn`, "log space" for the published log-space
        form of a minimal cell, or None.
      flax: its peer, a cell class of `flax.nnx`, or None.
      block: options of `rnnlab.Block` that are fixed around it; None: it is a whole residual block.
      layer_options: arguments of its constructor in the k-th layer of a model, as a function of k.
    """

    name: str
    target: str
    label: str
    color: str = USER_COLOR
    summary: str = ""
    kind: Literal["cell", "layer"] = "cell"
    compared_with: str | None = None
    torch: str | None = None
    flax: str | None = None
    block: Mapping[str, Any] | None = field(default_factory=dict, hash=False)
    layer_options: Callable[[int], dict[str, Any]] = _no_options

    @property
    def is_user_defined(self) -> bool:
        """Whether it is a class of a user's file."""
        return is_reference(self.target)

    def load(self) -> type:
        """Imports the class and returns it.

        Raises:
          ValueError: a user's file or class cannot be loaded.
        """
        if self.is_user_defined:
            return load_class(self.target, "a cell")
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


# Colors of Okabe and Ito's palette, distinct for color-blind readers.
_ENTRIES = (
    CellEntry(
        name="rnn",
        target="rnnlab.cells.rnn:VanillaRNN",
        label="RNN",
        color="#999999",
        summary="Elman RNN: one state, no gates.",
        torch="RNN",
        flax="SimpleCell",
    ),
    CellEntry(
        name="gru",
        target="rnnlab.cells.gru:GRU",
        label="GRU",
        color="#D55E00",
        summary="Gated recurrent unit, the variant of cuDNN and PyTorch.",
        torch="GRU",
        flax="GRUCell",
    ),
    CellEntry(
        name="lstm",
        target="rnnlab.cells.lstm:LSTM",
        label="LSTM",
        color="#0072B2",
        summary="Long short-term memory, with two states.",
        torch="LSTM",
        flax="OptimizedLSTMCell",
    ),
    CellEntry(
        name="mingru",
        target="rnnlab.cells.mingru:MinGRU",
        label="minGRU",
        color="#E69F00",
        summary="GRU whose gates read only the input, parallel over time.",
        compared_with="gru",
        torch="log space",
    ),
    CellEntry(
        name="minlstm",
        target="rnnlab.cells.minlstm:MinLSTM",
        label="minLSTM",
        color="#56B4E9",
        summary="LSTM with one state whose gates read only the input, parallel over time.",
        compared_with="lstm",
        torch="log space",
    ),
    CellEntry(
        name="transformer",
        target="rnnlab.layers.attention:Attention",
        label="Transformer",
        color="#CC79A7",
        summary="Causal multi-head attention over a window of time steps.",
        kind="layer",
        block={"expansion": 1, "conv_kernel_size": None},
    ),
    CellEntry(
        name="mamba",
        target="rnnlab.cells.mamba:Mamba",
        label="Mamba",
        color="#009E73",
        summary="Selective state space layer (S6) with its convolution and gate.",
        block={"conv_kernel_size": None, "mlp_expansion": None},
    ),
    CellEntry(
        name="tcn",
        target="rnnlab.layers.tcn:TemporalBlock",
        label="TCN",
        color="#F0E442",
        summary="Residual block of dilated causal convolutions.",
        kind="layer",
        block=None,
        layer_options=lambda k: {"dilation": 2**k},
    ),
)
REGISTRY: dict[str, CellEntry] = {entry.name: entry for entry in _ENTRIES}
"""The entries by name."""

LABELS = {name: entry.label for name, entry in REGISTRY.items()}
"""Names in figures and tables by name."""
COLORS = {name: entry.color for name, entry in REGISTRY.items()}
"""Colors of figures by name."""


def cell_entries() -> dict[str, CellEntry]:
    """Returns the entries of `rnnlab.CELLS`: those that keep the cells' contract."""
    return {name: entry for name, entry in REGISTRY.items() if entry.kind == "cell"}


def minimal_counterparts() -> dict[str, str]:
    """Maps each classic cell to the first cell that is compared with it.

    >>> minimal_counterparts()
    {'gru': 'mingru', 'lstm': 'minlstm'}
    """
    counterparts: dict[str, str] = {}
    for name, entry in REGISTRY.items():
        if entry.compared_with is not None:
            counterparts.setdefault(entry.compared_with, name)
    return counterparts


def compared_cells() -> tuple[str, ...]:
    """Returns the classic cells with a counterpart, then their counterparts.

    >>> compared_cells()
    ('gru', 'lstm', 'mingru', 'minlstm')
    """
    counterparts = minimal_counterparts()
    return (*counterparts, *counterparts.values())


def find_cell(name: str) -> CellEntry:
    """Returns the entry of a registered name, or one for a user's class, `FILE.py:CLASS`.

    The class of a user's file may set `label`, `color` and `compared_with`. Its file is executed.

    Args:
      name: name in `REGISTRY`, or `FILE.py:CLASS`.

    Raises:
      ValueError: the name is unknown, the file or class cannot be loaded, or the class is not a
        cell.

    >>> find_cell("mingru").label
    'minGRU'
    >>> find_cell("mingrue")
    Traceback (most recent call last):
    ...
    ValueError: cell 'mingrue' is unknown; did you mean 'mingru'? Your own: FILE.py:CLASS
    """
    if name in REGISTRY:
        return REGISTRY[name]
    if not is_reference(name):
        close = difflib.get_close_matches(name.lower(), REGISTRY, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(REGISTRY)}."
        raise ValueError(f"cell {name!r} is unknown; {hint} Your own: FILE.py:CLASS")
    cls = load_class(name, "a cell")
    _require_cell(name, cls)
    label = getattr(cls, "label", None)
    color = getattr(cls, "color", None)
    compared_with = getattr(cls, "compared_with", None)
    if compared_with is not None and compared_with not in REGISTRY:
        raise ValueError(
            f"{name}: compared_with must be one of {', '.join(REGISTRY)} or None, "
            f"got {compared_with!r}"
        )
    return CellEntry(
        name=name,
        target=name,
        label=label if isinstance(label, str) else name.rpartition(":")[2],
        color=color if isinstance(color, str) else USER_COLOR,
        summary=(cls.__doc__ or "").strip().partition("\n")[0],
        compared_with=compared_with,
    )


def _require_cell(name: str, cls: type) -> None:
    """Raises ValueError unless a user's class has the methods and the constructor of a cell."""
    from flax import nnx  # which the user's file has imported

    missing = [method for method in ("initial_carry", "step") if not hasattr(cls, method)]
    if not issubclass(cls, nnx.Module) or missing:
        found = f"a class without {' and '.join(missing)}" if missing else "another class"
        raise ValueError(
            f"{name} must be a flax.nnx.Module with initial_carry, step and __call__, got {found}; "
            "derive it from rnnlab.recurrent.Recurrent"
        )
    require_constructor(name, cls, ("rngs",))


def require_constructor(name: str, cls: type, keywords: Sequence[str]) -> None:
    """Raises unless a class can be called as `cls(in_features, features, **keywords)`.

    Args:
      name: name of the cell, for the error message.
      cls: the class.
      keywords: names of the keyword arguments.

    Raises:
      ValueError: the constructor takes other arguments.
    """
    signature = inspect.signature(cls.__init__)
    try:
        signature.bind(None, 1, 1, **dict.fromkeys(keywords))
    except TypeError as error:
        raise ValueError(
            f"the constructor of {name} must accept (in_features, features, *, "
            f"{', '.join(keywords)}) and have defaults for all others, got {signature} ({error}); "
            "change it, or pass **options on to the base class"
        ) from None
