"""Make a bundle of a run: its best model, the preparation of its data, statistics and a card."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.bundle.architecture import dump_config
from rnnlab.bundle.bundle import Bundle
from rnnlab.bundle.card import card
from rnnlab.bundle.description import Description, Sizes
from rnnlab.bundle.format import NAME
from rnnlab.bundle.reference import Reference, make_reference
from rnnlab.bundle.values import dump
from rnnlab.bundle.writing import require_free, write_bundle
from rnnlab.models import ModelConfig, SequenceModel
from rnnlab.models.config import count_parameters, state_bytes
from rnnlab.models.parameters import named_parameters
from rnnlab.records import Record
from rnnlab.runs.api import load_run, load_trained_model
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.runs.trained_model import model_outputs
from rnnlab.tasks.data import TaskData

LOCAL = ("command", "sources")
"""Fields of a result that name files of the machine."""


def bundle_run(
    run: Path,
    out: Path | None = None,
    *,
    question: str | None = None,
    license_text: str | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Bundle:
    """Writes the bundle of a trained run.

    Args:
      run: the run directory.
      out: the folder; its name is that of the model. Default: `default_folder`.
      question: that the experiment answers, for the card.
      license_text: under which the model may be used, for the card.
      strict: fail if the best checkpoint is corrupt instead of using the latest valid one.
      overwrite: whether an existing bundle is replaced.

    Raises:
      CheckpointError: there is no run, or no valid checkpoint in it.
      ValueError: its cell or preparation is a class of a user's file, or the folder exists.
    """
    run_dir, settings, experiment = load_run(run)
    folder = default_folder(settings) if out is None else out
    if not NAME.fullmatch(folder.name):
        raise ValueError(
            "the name of a bundle must be 1 to 100 letters, digits and ._-, starting with a letter "
            f"or a digit, got {folder.name!r}; choose another --out"
        )
    require_free(folder, overwrite)
    dump_config(experiment.model)  # fails for a user's cell before its data is read
    model, data = load_trained_model(run, strict=strict)
    source = source_of(run_dir, settings) | {"question": question, "license": license_text}
    return bundle_model(folder, model, experiment.model, data, source=source, overwrite=overwrite)


def bundle_model(
    folder: Path,
    model: SequenceModel,
    config: ModelConfig,
    data: TaskData,
    *,
    source: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Writes the bundle of a model that was trained on the data of a task, in a run or without.

    Args:
      folder: of the bundle; its name is that of the model.
      model: the model.
      config: its settings, of which it was built.
      data: of the task; its last evaluation set is the held-out data.
      source: where the model comes from, JSON values such as those of `source_of`.
      overwrite: whether an existing bundle is replaced.

    Raises:
      ValueError: its cell or preparation is a class of a user's file, or the folder exists.
    """
    description = Description(
        name=folder.name,
        config=config,
        sizes=Sizes.of(data),
        loss=data.loss,
        metrics=data.metrics,
        target_scale=data.target_scale,
        autoregressive=data.autoregressive,
        vocabulary=data.vocabulary,
        classes=data.classes,
        preparation=data.preparation,
        source={"data_fingerprint": data.fingerprint, **(source or {})},
    )
    reference = reference_of(model, data)
    sizes = {"parameters": count_parameters(model), "state_bytes": state_bytes(model)}
    return write_bundle(
        folder,
        description,
        {name: np.asarray(x) for name, x in named_parameters(model).items()},
        reference=dump(reference),
        card=card(description, reference, **sizes),
        overwrite=overwrite,
    )


def default_folder(settings: Record) -> Path:
    """Returns the folder of a run's bundle: bundles/EXPERIMENT-CELL-seedN.

    >>> settings = {"experiment": "char_lm", "model": {"cell": "mingru"}, "train": {"seed": 0}}
    >>> default_folder(settings).name
    'char_lm-mingru-seed0'
    """
    parts = settings["experiment"], settings["model"]["cell"], f"seed{settings['train']['seed']}"
    name = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(parts)).lstrip("-._")
    return Path("bundles", name[:100])


def reference_of(model: SequenceModel, data: TaskData) -> Reference:
    """Returns the statistics of a run's last evaluation set."""
    name, batches = list(data.eval_sets.items())[-1]
    predicts_inputs = (
        data.autoregressive
        and data.loss == "categorical"
        and data.vocab_size == data.out_features
        and data.decoding is None
    )
    # The likelihood of given targets, not what a decoder generates.
    teacher_forced = dataclasses.replace(data, decoding=None)
    outputs = model_outputs(model, teacher_forced) if predicts_inputs else None
    return make_reference(name, batches(), outputs, data.vocab_size)


def source_of(run_dir: RunDirectory, settings: Record) -> dict[str, Any]:
    """Returns where a model comes from, as JSON values without folders of the machine."""
    result = run_dir.read_result() if run_dir.result.exists() else None
    about = run_dir.read_environment()
    source = {
        **{name: settings[name] for name in ("task", "experiment", "preset")},
        "seed": settings["train"].get("seed"),
        "step": None if result is None else result["best_step"],
        **{name: about.get(name) for name in ("commit", "device", "data_fingerprint")},
        "versions": about.get("versions", {}),
        "result": None if result is None else portable_result(result),
    }
    return _without_folders(source)


def portable_result(result: Record) -> Record:
    """Returns the result of a run as its bundle has it: without what names files of the machine.

    >>> portable_result({"command": "rnnlab run a.py", "data": {"path": "/home/a/b.txt"}})
    {'data': {'path': 'b.txt'}}
    """
    return _without_folders({name: x for name, x in result.items() if name not in LOCAL})


def _without_folders(value: Any) -> Any:
    """Returns JSON values with the names of files in place of their paths."""
    if isinstance(value, Mapping):
        return {name: _without_folders(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(part) for part in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value
