"""The settings of a model, and the model that they describe."""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
from flax import nnx

from rnnlab.argument_errors import explain_arguments, explain_constructor
from rnnlab.models.building import build_model
from rnnlab.models.encoder_decoder import EncoderDecoder
from rnnlab.models.options import NOT_OPTIONS, CellOption, cell_options
from rnnlab.models.sequence_model import SequenceModel
from rnnlab.models.transducer import Transducer
from rnnlab.registry import CellEntry, find_cell, require_constructor


@explain_constructor
@dataclass(frozen=True, eq=False)
class ModelConfig:
    """A stack of blocks around one kind of cell, or around several that alternate over the depth.

    Two configurations are equal if they describe the same model.

    Attributes:
      cell: name in `rnnlab.registry.REGISTRY`, or FILE.py:CLASS for your own; several joined by "+"
        alternate over the depth, as in "mingru+mingru+transformer".
      width: width of the residual stream.
      depth: number of blocks.
      expansion: width of the cell relative to that of the stream (not transformer, tcn).
      cell_features: width of each block's cell, one number per block, as pruning leaves it; None is
        expansion times the width of the stream.
      conv_kernel_size: kernel size of the causal convolution before a recurrent cell; None omits
        the convolution.
      mlp_expansion: hidden width of each block's MLP relative to the stream's; None omits the MLP
        (mamba and tcn have none).
      dropout: dropout rate after each branch.
      variational: whether all time steps of a sequence share one dropout mask (not in tcn).
      bidirectional: whether each recurrent cell has a second one that reads from the end.
      readout: what predictions are made from: the last output, the mean of the outputs so far, or
        their mean weighted by attention.
      tie_embeddings: whether the head shares the embedding's matrix.
      input_decay: whether values fade while they are not observed, for data that shows which are.
      dtype: dtype of the computation; parameters are float32.
      remat: whether the backward pass recomputes the activations inside each block.
      encoder_depth: number of blocks of the encoder of data with a source; None is the depth.
      attention_heads: heads of the attention over a source; None is 4.
      input_feeding: whether the decoder of data with a source reads its own last output, which
        makes training sequential over time.
      options: options of the cell, the keyword-only parameters of its constructor, by name. With
        several cells an option applies to each cell that has it.

    Raises:
      ValueError: a cell or an option is unknown.

    >>> config = ModelConfig("minlstm", width=64, options={"forget_bias": 1.0})
    >>> config.settings()["forget_bias"]
    1.0
    """

    cell: str = "mingru"
    width: int = 128
    depth: int = 2
    expansion: int = 2
    cell_features: tuple[int, ...] | None = None
    conv_kernel_size: int | None = 4
    mlp_expansion: int | None = 4
    dropout: float = 0.0
    variational: bool = False
    bidirectional: bool = False
    readout: Literal["last", "mean", "attention"] = "last"
    tie_embeddings: bool = False
    input_decay: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False
    encoder_depth: int | None = None
    attention_heads: int | None = None
    input_feeding: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.cell_features is not None:
            object.__setattr__(self, "cell_features", tuple(self.cell_features))
        known = available_options(self.cell)
        for name in self.options:
            if name not in known:
                raise ValueError(unknown_option(name, self.cell))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelConfig) and self.settings() == other.settings()

    def __hash__(self) -> int:
        return hash((self.cell, self.width, self.depth, self.expansion))

    def settings(self) -> dict[str, Any]:
        """Returns all settings by name: the fields, then every option of the cell."""
        settings = {name: getattr(self, name) for name in FIELDS}
        for name, option in available_options(self.cell).items():
            settings[name] = self.options.get(name, option.default)
        return settings

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "ModelConfig":
        """Returns the configuration of a mapping like that of `settings`."""
        settings = dict(settings)
        known = {name: settings.pop(name) for name in FIELDS if name in settings}
        return cls(**known, options=settings)

    def override(self, settings: Mapping[str, Any]) -> "ModelConfig":
        """Returns a copy with fields and options replaced. Another cell starts without options.

        >>> ModelConfig("lstm", options={"forget_bias": 2.0}).override({"cell": "gru"}).options
        {}
        """
        fields = {name: value for name, value in settings.items() if name in FIELDS}
        options = {name: value for name, value in settings.items() if name not in FIELDS}
        kept = self.options if fields.get("cell", self.cell) == self.cell else {}
        return dataclasses.replace(self, **fields, options={**kept, **options})

    @explain_arguments
    def build(
        self,
        out_features: int,
        *,
        rngs: nnx.Rngs,
        vocab_size: int | None = None,
        in_features: int | None = None,
        num_variables: int = 0,
        source_vocab_size: int | None = None,
        source_features: int | None = None,
        word_sizes: tuple[int, int] | None = None,
        loss: Any = None,
    ) -> SequenceModel | EncoderDecoder | Transducer:
        """Builds the model for a task's inputs, outputs, source and loss, as in `TaskData`.

        The task decides the kind of model, see `rnnlab.models.building.build_model`.

        Raises:
          ValueError: a setting is out of range, does not fit the data, or is of no part of the
            model, or the depth is less than the number of cells.

        >>> from flax import nnx
        >>> model = ModelConfig(width=8).build(5, vocab_size=5, rngs=nnx.Rngs(0))
        >>> count_parameters(model), state_bytes(model)
        (2157, 320)
        """
        return build_model(
            self,
            out_features,
            rngs=rngs,
            vocab_size=vocab_size,
            in_features=in_features,
            num_variables=num_variables,
            source_vocab_size=source_vocab_size,
            source_features=source_features,
            word_sizes=word_sizes,
            loss=loss,
        )

    def options_of(self, entry: CellEntry) -> dict[str, Any]:
        """Returns the options that are set for one of the cells."""
        return {
            name: self.options[name]
            for name, option in _options_of(entry).items()
            if name in self.options and (self.options[name] is not None or _takes_none(option))
        }


FIELDS = tuple(f.name for f in dataclasses.fields(ModelConfig) if f.name != "options")
"""Names of the settings that every model has."""


def available_options(cell: str) -> dict[str, CellOption]:
    """Returns the options of a cell, or of several joined by "+", by name.

    An option of several cells whose defaults differ has the default None: each cell's own.

    Raises:
      ValueError: a cell is unknown.

    >>> sorted(available_options("transformer"))
    ['heads', 'window']
    """
    found: dict[str, CellOption] = {}
    for name in cell.split("+"):
        for option, value in _options_of(find_cell(name)).items():
            other = found.setdefault(option, value)
            if other.default != value.default:
                found[option] = value._replace(type=value.type | None, default=None)
    return found


def unknown_option(name: str, cell: str) -> str:
    """Returns the error message for a setting that is neither a field nor an option of a cell."""
    known = available_options(cell)
    close = difflib.get_close_matches(name, (*FIELDS, *known), 1)
    options = ", ".join(known) or "none"
    hint = f"did you mean {close[0]!r}?" if close else f"its options are {options}"
    return f"option {name!r} is unknown for cell {cell!r}; {hint}"


def settings_class(cell: str) -> type:
    """Returns a dataclass of all settings of a model, for the command line and for JSON.

    >>> [f.name for f in dataclasses.fields(settings_class("transformer"))][-2:]
    ['heads', 'window']
    """
    options = available_options(cell)
    hints = typing.get_type_hints(ModelConfig)
    fields = [
        (f.name, hints[f.name], field(default=f.default))
        for f in dataclasses.fields(ModelConfig)
        if f.name in FIELDS
    ]
    fields += [(name, o.type, field(default=o.default)) for name, o in options.items()]
    kind = dataclasses.make_dataclass("Settings", fields, frozen=True)
    _, _, documented = ModelConfig.__doc__.partition("    Attributes:\n")
    documented, _, _ = documented.partition("      options:")
    documented += "".join(
        f"      {name}: {option.doc.rstrip('.') or 'option of the cell'}.\n"
        for name, option in options.items()
    )
    kind.__doc__ = f"Settings of the model.\n\n    Attributes:\n{documented}"
    return kind


def count_parameters(model: nnx.Module) -> int:
    """Returns the number of parameters.

    >>> from rnnlab import MinGRU
    >>> count_parameters(MinGRU(3, 4, rngs=nnx.Rngs(0)))  # 2 (3 x 4 + 4)
    32
    """
    return sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))


def state_bytes(model: nnx.Module) -> int:
    """Returns the bytes of one stream's carry, which do not depend on the sequence length.

    >>> from rnnlab import LSTM
    >>> state_bytes(LSTM(3, 4, rngs=nnx.Rngs(0)))  # c and h, 4 bytes per number
    32
    """
    carry = jax.eval_shape(lambda: model.initial_carry(()))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(carry))


def _options_of(entry: CellEntry) -> dict[str, CellOption]:
    """Returns the options of a cell that the model does not set itself.

    Raises:
      ValueError: the constructor of a user's cell does not accept what a model passes.
    """
    set_by_model = {*FIELDS, *entry.layer_options(0)}
    cls = entry.load()
    if entry.is_user_defined:
        require_constructor(entry.name, cls, NOT_OPTIONS)
    return {name: option for name, option in cell_options(cls).items() if name not in set_by_model}


def _takes_none(option: CellOption) -> bool:
    return type(None) in typing.get_args(option.type)
