"""Names that earlier versions stored in files, and their current names.

Files are never rewritten: readers translate names with the functions of this module. To rename a
setting, a record's key or a checkpoint's leaf, add its old name to a table here.
"""

from collections.abc import Mapping
from typing import Any

TRAIN_SETTINGS = {
    "final_rate": "end_lr_fraction",
    "decay_gates": "weight_decay_gates",
    "clip_norm": "grad_clip_norm",
    "l1": "recurrent_l1",
    "l2": "recurrent_l2",
    "accumulation": "grad_accum_steps",
    "evaluate_every": "eval_every",
    "skip_spikes": "spike_factor",
    "skip_limit": "max_consecutive_skips",
}
"""Settings of trainings."""

TASK_SETTINGS: dict[str, dict[str, str]] = {
    "Chorales": {"quarters": "quarters_per_step"},
    "Digits": {"share": "train_fraction"},
    "ListOps": {"multiple": "pad_to_multiple"},
    "MQAR": {"power": "gap_exponent"},
    "Text": {"unit": "token", "heldout": "test"},
}
"""Settings of tasks, by task."""

MODEL_SETTINGS = {
    "conv_size": "conv_kernel_size",
    "tied": "tie_embeddings",
    "learned_carry": "learn_initial_state",
    "context": "window",
    "gate_range": "decay_range",
}
"""Settings of models from before each cell had options of its own."""

MINIMAL_CELLS = frozenset({"mingru", "minlstm"})
CELLS_OF_OPTION = {
    "candidate": MINIMAL_CELLS,
    "gate_range": MINIMAL_CELLS,
    "learned_carry": MINIMAL_CELLS,
    "forget_bias": frozenset({"minlstm"}),
    "normalize": frozenset({"minlstm"}),
    "heads": frozenset({"transformer"}),
    "context": frozenset({"transformer"}),
    "state_size": frozenset({"mamba"}),
    "kernel_size": frozenset({"tcn"}),
}
"""The cells that such a setting belongs to; the settings of all other models listed it too."""

RECORD_KEYS = {"varied": "grid", "floors": "baselines"}
"""Keys of results and of `config.json`."""

BASELINES = {
    "length alone": "most common per length",
    "any value of the row": "any value of the sequence",
}
"""Names of baselines in results."""

BENCHMARK_KEYS = {"floor_seconds": "reference_seconds", "faults": "page_faults"}
"""Keys of the records of benchmarks."""

BENCHMARK_VALUES: dict[str, dict[Any, str]] = {
    "setting": {"as it is": "default", "--keep-pages": "--malloc-keep-memory"},
    "how": {"as it is": "default"},
    "implementation": {"plain JAX": "naive JAX"},
    "weights": {"as initialised, norm 1": "as initialized, norm 1"},
}
"""Values in the records of benchmarks, by key."""

LEAVES = {
    "progress.best": "progress.best_value",
    "progress.stale": "progress.evals_since_best",
    "progress.evaluated": "progress.last_eval_step",
    "progress.health.recent": "progress.loss_history.recent",
    "progress.health.first": "progress.loss_history.initial",
    "progress.health.best": "progress.loss_history.best",
    "progress.health.in_a_row": "progress.loss_history.consecutive_skips",
    "progress.health.skipped": "progress.loss_history.total_skips",
    "state.usual": "state.recent_stats",
}
"""Paths of a checkpoint's leaves. Those of the model have not changed."""

MANIFEST_FILE, METADATA_KEY = "integrity.json", "about"
"""The manifest of a checkpoint of format 1, and the key of its metadata."""

TMP_SUFFIXES = (".new", ".old")
"""Suffixes of unfinished and of half-deleted files and directories."""

CORRUPT_DIR, ARCHIVE_DIR = "damaged", "retired"
"""Subdirectories of a run for corrupt and for archived checkpoints."""


def current_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a result, or the content of a `config.json`, with current names.

    The records of benchmarks get current names as well; others are returned as they are.

    Raises:
      ValueError: one setting has both its old and its current name.

    >>> current_record({"varied": {"train.l2": 0.5}, "train": {"l2": 0.5}, "steps": 3})
    {'grid': {'train.recurrent_l2': 0.5}, 'train': {'recurrent_l2': 0.5}, 'steps': 3}
    >>> current_record({"benchmark": "malloc", "floor_seconds": 1.0, "setting": "as it is"})
    {'benchmark': 'malloc', 'reference_seconds': 1.0, 'setting': 'default'}
    """
    if "benchmark" in record:
        return _current_benchmark(record)
    current = _renamed(record, RECORD_KEYS)
    if not {"grid", "train"} <= current.keys():
        return dict(record)
    task = str(current.get("task"))
    names = {"data": TASK_SETTINGS.get(task, {}), "train": TRAIN_SETTINGS}
    # The options of a user's cell may have any name: only settings without current names are old.
    if isinstance(model := current.get("model"), Mapping) and "conv_kernel_size" not in model:
        names["model"] = MODEL_SETTINGS
        current["model"] = _current_model(model)
    if isinstance(data := current.get("data"), Mapping):
        current["data"] = _current_task(task, data)
    if isinstance(baselines := current.get("baselines"), Mapping):
        current["baselines"] = _renamed(baselines, BASELINES)
    if isinstance(train := current["train"], Mapping):
        current["train"] = _renamed(train, TRAIN_SETTINGS)
    if isinstance(grid := current["grid"], Mapping):
        sections = [
            {f"{section}.{old}": f"{section}.{new}" for old, new in settings.items()}
            for section, settings in names.items()
        ]
        current["grid"] = _renamed(grid, {old: new for x in sections for old, new in x.items()})
    return current


def _current_benchmark(record: Mapping[str, Any]) -> dict[str, Any]:
    current = _renamed(record, BENCHMARK_KEYS)
    for key, values in BENCHMARK_VALUES.items():
        if key in current:
            current[key] = values.get(current[key], current[key])
    return current


def current_leaf(path: str) -> str:
    """Returns the current path of a checkpoint's leaf.

    >>> current_leaf("progress.best"), current_leaf("state.params.head_kernel.value")
    ('progress.best_value', 'state.params.head_kernel.value')
    """
    return LEAVES.get(path, path)


def _current_model(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a model with current names and without options of other cells.

    >>> _current_model({"cell": "lstm", "conv_size": 4, "forget_bias": 0.0, "readout": "step"})
    {'cell': 'lstm', 'conv_kernel_size': 4, 'readout': 'last'}
    """
    cells = set(str(settings.get("cell", "mingru")).split("+"))
    own = {
        name: value
        for name, value in settings.items()
        if name not in CELLS_OF_OPTION or cells & CELLS_OF_OPTION[name]
    }
    current = _renamed(own, MODEL_SETTINGS)
    if current.get("readout") == "step":
        current["readout"] = "last"
    return current


def _current_task(task: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a task with current names.

    A `Text` with `heldout` is from before it had a validation part: its run selects the best step
    on the test part, and continues to do so. A `Forecasting` without `normalization` is from before
    there was another than `"series"`.

    >>> _current_task("Text", {"length": 64, "heldout": 0.1})
    {'length': 64, 'test': 0.1, 'valid': 0.0}
    """
    current = _renamed(settings, TASK_SETTINGS.get(task, {}))
    if task == "Text" and "heldout" in settings:
        current["valid"] = 0.0
    if task == "Forecasting":
        current.setdefault("normalization", "series")
    return current


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Returns the values under current names.

    Raises:
      ValueError: a value has its old and its current name, so that one of two would be lost.
    """
    for old, new in names.items():
        if old in values and new in values:
            raise ValueError(f"{new} must occur once, got also its old name {old}; remove one")
    return {names.get(name, name): value for name, value in values.items()}
