"""Names that earlier versions stored in files, and their current names.

Files are never rewritten: readers translate names with the functions of this module. To rename a
setting, a record's key or a parameter, add its old name to a table here.
"""

from collections.abc import Mapping
from typing import Any

SETTINGS: dict[str, dict[str, str]] = {
    "data": {},
    "model": {},
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

VALUES: dict[str, dict[Any, Any]] = {}
"""Values of settings, by "section.setting" with its current name."""

RECORD_KEYS = {"varied": "grid", "floors": "baselines"}
"""Keys of results and of `config.json`."""

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

PARAMETERS: dict[str, str] = {}
"""Names of parameters: dotted ends of their paths in the model, as in "cell.carry"."""


def current_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result, or the content of a `config.json`, with current names.

    Other records are returned as they are.

    >>> current_record({"varied": {"train.l2": 0.5}, "train": {"l2": 0.5}, "steps": 3})
    {'grid': {'train.recurrent_l2': 0.5}, 'train': {'recurrent_l2': 0.5}, 'steps': 3}
    """
    current = {RECORD_KEYS.get(key, key): value for key, value in record.items()}
    if "grid" not in current or "train" not in current:
        return dict(record)
    if isinstance(current["grid"], Mapping):
        current["grid"] = dict(_current_setting(*item) for item in current["grid"].items())
    for section in SETTINGS:
        if isinstance(settings := current.get(section), Mapping):
            named = (_current_setting(f"{section}.{key}", x) for key, x in settings.items())
            current[section] = {name.removeprefix(f"{section}."): x for name, x in named}
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


def _current_setting(name: str, value: Any) -> tuple[str, Any]:
    section, _, setting = name.partition(".")
    name = f"{section}.{SETTINGS.get(section, {}).get(setting, setting)}"
    values = VALUES.get(name, {})
    return name, values[value] if isinstance(value, str) and value in values else value
