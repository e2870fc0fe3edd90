"""Names that earlier versions stored in files, and their current names.

Files are never rewritten: readers translate names with the functions of this module. To rename a
setting, a record's key or a parameter, add its old name to a table here.
"""

from collections.abc import Mapping
from typing import Any

SETTINGS: dict[str, dict[str, str]] = {
    "train": {
        "final_rate": "end_lr_fraction",
        "decay_gates": "weight_decay_gates",
        "clip_norm": "grad_clip_norm",
        "l1": "recurrent_l1",
        "l2": "recurrent_l2",
        "accumulation": "grad_accum_steps",
        "evaluate_every": "eval_every",
        "skip_spikes": "spike_factor",
        "skip_limit": "max_consecutive_skips",
    },
}
"""Settings of `config.json` and of results, by section."""

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

VALUES: dict[str, dict[Any, Any]] = {}
"""Values of settings, by "section.setting" with its current name."""

RECORD_KEYS = {"varied": "grid", "floors": "baselines"}
"""Keys of results and of `config.json`."""

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
"""Paths of a checkpoint's leaves outside the model."""

MANIFEST_FILE, METADATA_KEY = "integrity.json", "about"
"""The manifest of a checkpoint of format 1, and the key of its metadata."""

TMP_SUFFIXES = (".new", ".old")
"""Suffixes of unfinished and of half-deleted files and directories."""

CORRUPT_DIR, ARCHIVE_DIR = "damaged", "retired"
"""Subdirectories of a run for corrupt and for archived checkpoints."""

PARAMETERS: dict[str, str] = {}
"""Names of parameters: dotted ends of their paths in the model, as in "cell.carry"."""


def current_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result, or the content of a `config.json`, with current names.

    The records of benchmarks get current names as well; others are returned as they are.

    >>> current_record({"varied": {"train.l2": 0.5}, "train": {"l2": 0.5}, "steps": 3})
    {'grid': {'train.recurrent_l2': 0.5}, 'train': {'recurrent_l2': 0.5}, 'steps': 3}
    >>> current_record({"benchmark": "malloc", "floor_seconds": 1.0, "setting": "as it is"})
    {'benchmark': 'malloc', 'reference_seconds': 1.0, 'setting': 'default'}
    """
    if "benchmark" in record:
        return _current_benchmark(record)
    current = {RECORD_KEYS.get(key, key): value for key, value in record.items()}
    if "grid" not in current or "train" not in current:
        return dict(record)
    if isinstance(current["grid"], Mapping):
        current["grid"] = dict(_current_setting(*item) for item in current["grid"].items())
    if isinstance(model := current.get("model"), Mapping) and "conv_kernel_size" not in model:
        current["model"] = _current_model(model)
        if isinstance(current["grid"], Mapping):
            names = {f"model.{old}": f"model.{new}" for old, new in MODEL_SETTINGS.items()}
            current["grid"] = {names.get(name, name): x for name, x in current["grid"].items()}
    task = str(current.get("task"))
    if isinstance(data := current.get("data"), Mapping):
        current["data"] = _current_task(task, data)
    if isinstance(current["grid"], Mapping):
        names = {f"data.{old}": f"data.{new}" for old, new in TASK_SETTINGS.get(task, {}).items()}
        current["grid"] = {names.get(name, name): x for name, x in current["grid"].items()}
    for section in SETTINGS:
        if isinstance(settings := current.get(section), Mapping):
            named = (_current_setting(f"{section}.{key}", x) for key, x in settings.items())
            current[section] = {name.removeprefix(f"{section}."): x for name, x in named}
    return current


def _current_benchmark(record: Mapping[str, Any]) -> dict[str, Any]:
    current = {BENCHMARK_KEYS.get(key, key): value for key, value in record.items()}
    for key, values in BENCHMARK_VALUES.items():
        if key in current:
            current[key] = values.get(current[key], current[key])
    return current


def current_leaf(path: str) -> str:
    """Return the current path of a checkpoint's leaf.

    >>> current_leaf("progress.best"), current_leaf("state.params.head_kernel.value")
    ('progress.best_value', 'state.params.head_kernel.value')
    """
    if path in LEAVES:
        return LEAVES[path]
    for old, new in PARAMETERS.items():
        if path.endswith(f".{old}.value"):
            return path.removesuffix(f"{old}.value") + f"{new}.value"
    return path


def _current_model(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a model with current names and without options of other cells.

    >>> _current_model({"cell": "lstm", "conv_size": 4, "forget_bias": 0.0, "readout": "step"})
    {'cell': 'lstm', 'conv_kernel_size': 4, 'readout': 'last'}
    """
    cells = set(str(settings.get("cell", "mingru")).split("+"))
    current = {
        MODEL_SETTINGS.get(name, name): value
        for name, value in settings.items()
        if name not in CELLS_OF_OPTION or cells & CELLS_OF_OPTION[name]
    }
    if current.get("readout") == "step":
        current["readout"] = "last"
    return current


def _current_task(task: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a task with current names.

    A `Text` with `heldout` is from before it had a validation part: its run selects the best step
    on the test part, and continues to do so.

    >>> _current_task("Text", {"length": 64, "heldout": 0.1})
    {'length': 64, 'test': 0.1, 'valid': 0.0}
    """
    names = TASK_SETTINGS.get(task, {})
    current = {names.get(name, name): value for name, value in settings.items()}
    if task == "Text" and "heldout" in settings:
        current["valid"] = 0.0
    return current


def _current_setting(name: str, value: Any) -> tuple[str, Any]:
    section, _, setting = name.partition(".")
    name = f"{section}.{SETTINGS.get(section, {}).get(setting, setting)}"
    values = VALUES.get(name, {})
    return name, values[value] if isinstance(value, str) and value in values else value
