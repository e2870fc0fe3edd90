"""A bundle: a folder with a model and all that it needs to predict from new data elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rnnlab.atomic_io import parse_json
from rnnlab.bundle.architecture import abstract_model, state_layout
from rnnlab.bundle.description import Description, Sizes
from rnnlab.bundle.encodings import Parameter, decode, stored_arrays
from rnnlab.bundle.files import read_description, read_file, read_start, require_files
from rnnlab.bundle.format import (
    DESCRIPTION,
    MAX_JSON_BYTES,
    REFERENCE,
    WEIGHTS,
    Content,
    FileRecord,
    read_content,
)
from rnnlab.bundle.reference import Reference
from rnnlab.bundle.values import load_dataclass
from rnnlab.bundle.weights import LENGTH_BYTES, array_offsets, decode_arrays, header_length
from rnnlab.errors import BundleError
from rnnlab.heads import Head
from rnnlab.models import ModelConfig, SequenceModel
from rnnlab.models.parameters import named_parameters, with_parameters
from rnnlab.runs.trained_model import TrainedModel
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.predictions import Preparation

UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError)
"""What parsing, NumPy and the constructors of layers raise about values that they do not expect."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model and its preparation, read from a folder by `open_bundle`.

    Attributes:
      path: the folder.
      description: of the model, from `bundle.json`.
      parameters: shape and encoding of each parameter, by the names of
        `rnnlab.models.parameters.named_parameters`.
      files: size and digest of each file besides `bundle.json` and the signature.
      reference: statistics of the run's data, the content of `reference.json`.
      digest: SHA-256 of `bundle.json`, which has the digests of all other files.
    """

    path: Path
    description: Description
    parameters: Mapping[str, Parameter] = field(repr=False)
    files: Mapping[str, FileRecord] = field(repr=False)
    reference: Mapping[str, Any] = field(repr=False)
    digest: str = field(repr=False)

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.description.name

    @property
    def config(self) -> ModelConfig:
        """The architecture."""
        return self.description.config

    @property
    def sizes(self) -> Sizes:
        """The sizes of inputs and outputs."""
        return self.description.sizes

    @property
    def loss(self) -> str | Head:
        """The name of the loss, or a head."""
        return self.description.loss

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The symbol of each token id; empty where tokens are not text."""
        return self.description.vocabulary

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class; empty where classes have only numbers."""
        return self.description.classes

    @property
    def preparation(self) -> Preparation | None:
        """The preparation of new data; None where the task generates its data."""
        return self.description.preparation

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays as stored, by name, read-only.

        Raises:
          BundleError: the file has changed.
        """
        content = self.read(WEIGHTS)
        return decode_arrays(content, stored_arrays(self.parameters), str(self.path / WEIGHTS))

    def model(self) -> SequenceModel:
        """Returns the model in evaluation mode, with parameters of float32.

        Raises:
          BundleError: the file has changed.
        """
        model, _ = abstract_model(self.config, self.sizes, self.loss)
        return with_parameters(model, decode(self.parameters, self.arrays()))

    def trained_model(self) -> TrainedModel:
        """Returns the model with its preparation, which predicts from new data as a run does."""
        of = self.description
        data = TaskData(
            loss=of.loss,
            metrics=of.metrics,
            out_features=of.sizes.out_features,
            train_batch=_no_batch,
            eval_sets={},
            baselines=dict,
            vocab_size=of.sizes.vocab_size,
            in_features=of.sizes.in_features,
            num_variables=of.sizes.num_variables,
            source_vocab_size=of.sizes.source_vocab_size,
            source_features=of.sizes.source_features,
            word_sizes=of.sizes.word_sizes,
            autoregressive=of.autoregressive,
            target_scale=of.target_scale,
            vocabulary=of.vocabulary,
            classes=of.classes,
            fingerprint=str(of.source.get("data_fingerprint", "")),
            preparation=of.preparation,
            decoding=getattr(of.preparation, "decoding", None),
        )
        return TrainedModel(self.path, self.model(), data)

    def read(self, name: str) -> bytes:
        """Returns the content of a file, such as "step.onnx".

        Raises:
          BundleError: the file has changed.
          ValueError: the bundle has no such file.
        """
        if name not in self.files:
            raise ValueError(
                f"{self.path} must have a file {name!r}, got {', '.join(sorted(self.files))}; "
                "export it with `rnnlab export`"
            )
        return read_file(self.path / name, self.files[name])


def is_bundle(path: Path | str) -> bool:
    """Whether a path is a folder with a `bundle.json`."""
    return (Path(path) / DESCRIPTION).is_file()


def bundles_below(path: Path | str) -> list[Path]:
    """Returns the bundles directly below a directory; none if it is one itself."""
    if is_bundle(path):
        return []
    return sorted(file.parent for file in Path(path).glob(f"*/{DESCRIPTION}"))


def open_bundle(path: Path | str) -> Bundle:
    """Opens a bundle and checks it: names, sizes and digests of files, settings, shapes.

    No code and no pickled object is read, and no array is made. What is checked does not protect
    from someone who writes a bundle of his own; a signature does.

    Args:
      path: the folder.

    Raises:
      BundleError: it is not a bundle, of a later format, incomplete, or differs from what was
        written.
    """
    folder = Path(path)
    try:
        content, digest = read_content(read_description(folder), str(folder / DESCRIPTION))
        require_files(folder, content.files)
        reference = _read_reference(folder / REFERENCE, content.files[REFERENCE])
        _require_weights(folder / WEIGHTS, content)
        _require_architecture(str(folder / DESCRIPTION), content)
    except BundleError:
        raise
    except UNREADABLE as error:
        raise BundleError(_one_line(str(error) or type(error).__name__, folder)) from None
    return Bundle(folder, content.description, content.parameters, content.files, reference, digest)


def _no_batch(index: int) -> NoReturn:
    raise ValueError(
        f"a bundle has no training batches, got a request for batch {index}; use a run"
    )


def _read_reference(path: Path, record: FileRecord) -> dict[str, Any]:
    """Returns the content of `reference.json`, which is empty or a `Reference`."""
    if record.size > MAX_JSON_BYTES:
        raise ValueError(
            f"{path} must have at most {MAX_JSON_BYTES:,} bytes, got {record.size:,}; restore it "
            "from a copy"
        )
    reference = parse_json(read_file(path, record), path)
    if reference != {}:
        load_dataclass(Reference, reference, str(path))
    return reference


def _require_weights(path: Path, content: Content) -> None:
    """Raises ValueError unless the header of the weights has the arrays of the description."""
    prefix, size = read_start(path, LENGTH_BYTES)
    length = header_length(prefix, size, str(path))
    start = LENGTH_BYTES + length
    header = read_start(path, start)[0][LENGTH_BYTES:]
    array_offsets(header, size - start, stored_arrays(content.parameters), str(path))


def _require_architecture(where: str, content: Content) -> None:
    """Raises ValueError unless the architecture has the parameters and the state it should have."""
    of = content.description
    if of.config.depth > len(content.parameters):  # each layer has a parameter
        raise ValueError(
            f"{where}: architecture.depth must be at most the number of parameters, "
            f"{len(content.parameters)}, got {of.config.depth}; restore it from a copy"
        )
    model, leaves = abstract_model(of.config, of.sizes, of.loss)
    wanted = {name: tuple(x.shape) for name, x in named_parameters(model).items()}
    found = {name: parameter.shape for name, parameter in content.parameters.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise ValueError(
                f"{where}: parameter {name[:100]!r} must have the shape that the architecture "
                f"gives it, {_shape(wanted, name)}, got {_shape(found, name)}; restore it from a "
                "copy"
            )
    if content.state != state_layout(leaves):
        raise ValueError(
            f"{where}: state must be that of the architecture, and is another; restore it from a "
            "copy"
        )


def _shape(shapes: Mapping[str, tuple[int, ...]], name: str) -> str:
    return str(list(shapes[name]))[:60] if name in shapes else "none"


def _one_line(message: str, folder: Path) -> str:
    text = " ".join(message.split())
    if "; " not in text:  # of a parser or of a constructor
        text = f"{text[:300]}; restore it from a copy"
    return text if str(folder) in text else f"{folder}: {text}"
