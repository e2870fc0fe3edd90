"""Read the settings of models that earlier versions stored, when all cells shared one flat list."""

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "conv_size": "conv_kernel_size",
    "tied": "tie_embeddings",
    "learned_carry": "learn_initial_state",
    "context": "window",
}
MINIMAL = frozenset({"mingru", "minlstm"})
CELLS_OF_OPTION = {
    "candidate": MINIMAL,
    "gate_range": MINIMAL,
    "learned_carry": MINIMAL,
    "forget_bias": frozenset({"minlstm"}),
    "normalize": frozenset({"minlstm"}),
    "heads": frozenset({"transformer"}),
    "context": frozenset({"transformer"}),
    "state_size": frozenset({"mamba"}),
    "kernel_size": frozenset({"tcn"}),
}
"""The cells that used an option; the settings of all others listed it too."""


def current_model_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a model with current names, and without options of other cells.

    Settings of the current version, which have `conv_kernel_size`, are returned as they are.

    >>> current_model_settings({"cell": "lstm", "conv_size": 4, "forget_bias": 0.0})
    {'cell': 'lstm', 'conv_kernel_size': 4}
    """
    if "conv_kernel_size" in settings:
        return dict(settings)
    cells = set(str(settings.get("cell", "mingru")).split("+"))
    current = {
        RENAMED.get(name, name): value
        for name, value in settings.items()
        if name not in CELLS_OF_OPTION or cells & CELLS_OF_OPTION[name]
    }
    if current.get("readout") == "step":
        current["readout"] = "last"
    return current
