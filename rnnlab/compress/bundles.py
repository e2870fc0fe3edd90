"""Bundles of compressed models, made of the bundle or the run of the whole one."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flax import nnx

from rnnlab.bundle import Bundle, Sizes, is_bundle, open_bundle, write_bundle
from rnnlab.bundle.card import card_of_compressed
from rnnlab.bundle.run_bundle import bundle_model, bundle_run, default_folder, reference_of
from rnnlab.bundle.values import dump
from rnnlab.compress.prune import pruned_config
from rnnlab.compress.quantize import Quantized
from rnnlab.models import SequenceModel
from rnnlab.runs.api import load_run, load_trained_model, read_settings
from rnnlab.tasks.data import TaskData
from rnnlab.train.config import TrainConfig
from rnnlab.train.evaluate import evaluate, make_decode, make_predict

CARD = "card.md"


@dataclass(frozen=True)
class Source:
    """A model to compress.

    Attributes:
      bundle: its bundle.
      folder: where its bundle is, or would be if it were written.
      data: the data that it was trained on; None where it is not there.
      train: the settings of its training; None without data.
    """

    bundle: Bundle
    folder: Path
    data: TaskData | None
    train: TrainConfig | None

    def metric(self, model: SequenceModel, part: str | None = None) -> float:
        """Returns the first metric of the data on an evaluation set; default: the first set."""
        graphdef, params = nnx.split(model, nnx.Param)
        data = self.data
        batches = data.eval_sets[part or next(iter(data.eval_sets))]()
        decode = make_decode(graphdef, data.decoding)
        return evaluate(make_predict(graphdef), params, data, batches, decode=decode)[
            data.metrics[0]
        ]

    def out(self, suffix: str) -> Path:
        """Returns the default folder of the compressed model."""
        return self.folder.with_name(f"{self.folder.name}-{suffix}")


@contextmanager
def open_source(folder: Path, run: Path | None = None) -> Iterator[Source]:
    """Opens a bundle, or a run, whose bundle is written to a temporary folder.

    Args:
      folder: the bundle or the run.
      run: a run on the data that the model was trained on; None: that of `folder`, if it is a run.

    Raises:
      BundleError: the bundle is invalid.
      CheckpointError: there is no run, or no valid checkpoint, or its data has changed.
      ValueError: the run has inputs or outputs of other sizes than the bundle.
    """
    if not is_bundle(folder):
        run = run or folder
        name = default_folder(read_settings(folder)[1])
        with tempfile.TemporaryDirectory() as temporary:
            bundle = bundle_run(folder, Path(temporary) / name.name)
            yield _source(bundle, name, run)
        return
    yield _source(open_bundle(folder), folder, run)


def _source(bundle: Bundle, folder: Path, run: Path | None) -> Source:
    if run is None:
        return Source(bundle, folder, None, None)
    _, data = load_trained_model(run)
    found, wanted = (Sizes.of(data), data.vocabulary), (bundle.sizes, bundle.vocabulary)
    if found != wanted:
        raise ValueError(
            f"{run} must have the inputs, outputs and symbols of {bundle.name}, {wanted[0]}, got "
            f"{found[0]}; name the run that the bundle was made of"
        )
    return Source(bundle, folder, data, load_run(run)[2].train)


def write_quantized(
    out: Path, source: Source, small: Quantized, about: Mapping[str, Any], *, overwrite: bool
) -> Bundle:
    """Writes the bundle of a quantized model: integers, scales, and how to decode them.

    Args:
      out: the folder.
      source: the model that was quantized.
      small: the quantized model.
      about: JSON values on how, for the card and for the description.
      overwrite: whether an existing bundle is replaced.

    Raises:
      ValueError: the folder exists.
    """
    bundle = source.bundle
    reference = bundle.reference
    if source.data is not None:
        reference = dump(reference_of(small.model, source.data))
    return write_bundle(
        out,
        replace(bundle.description, name=out.name, source=_origin(bundle, about)),
        small.arrays,
        encodings=small.encodings,
        reference=reference,
        card=card_of_compressed(bundle.read(CARD).decode(), out.name, bundle.name, about),
        overwrite=overwrite,
    )


def write_pruned(
    out: Path, source: Source, model: SequenceModel, about: Mapping[str, Any], *, overwrite: bool
) -> Bundle:
    """Writes the bundle of a pruned model. Arguments and errors are those of `write_quantized`."""
    config = pruned_config(source.bundle.config, model)
    origin = _origin(source.bundle, about)
    return bundle_model(out, model, config, source.data, source=origin, overwrite=overwrite)


def _origin(bundle: Bundle, about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns where a compressed model comes from."""
    return {**bundle.description.source, "compressed": {"from": bundle.name, **about}}
