"""Versions of bundles: their model on an engine, their vocabulary and their preparation."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from rnnlab.bundle import Bundle, open_bundle
from rnnlab.bundle.reference import Reference
from rnnlab.bundle.values import load_dataclass
from rnnlab.call_validation import require_one_sequence
from rnnlab.serve.drift import DriftMonitor
from rnnlab.serve.interface import Interface
from rnnlab.serve.jax_slots import JaxSlots
from rnnlab.serve.limits import Limits
from rnnlab.serve.onnx_slots import OnnxSlots
from rnnlab.serve.slots import Slots
from rnnlab.serve.versions import Version, Versions
from rnnlab.tasks.sequence_preparation import SequencePreparation

Engine = Literal["jax", "onnx"]
ENGINES: tuple[Engine, ...] = ("jax", "onnx")


def add_bundle(
    versions: Versions, path: Path | str, limits: Limits, engine: Engine = "jax"
) -> Version:
    """Opens a bundle, compiles its programs and returns it as a version without sessions.

    Args:
      versions: of the model that is served.
      path: the folder of the bundle.
      limits: of the server.
      engine: what runs the model; "onnx" needs the bundle's `step.onnx`.

    Raises:
      BundleError: the bundle is invalid.
      ValueError: the model cannot stream, its inputs or outputs differ from those of the other
        versions, or the engine lacks its file.
    """
    bundle = open_bundle(path)
    slots, interface = _engine(bundle, limits, engine)
    return versions.add(
        bundle.digest,
        interface,
        slots,
        description={
            "bundle": bundle.name,
            "engine": engine,
            "cell": bundle.config.cell,
            "inputs": "as in the data" if _prepare(bundle) is not None else "as the model reads",
        },
        prepare=_prepare(bundle),
        monitor=_monitor(bundle),
    )


def _engine(bundle: Bundle, limits: Limits, engine: Engine) -> tuple[Slots, Interface]:
    """Returns the slots of a bundle on an engine, and its interface."""
    if bundle.sizes.word_sizes is not None:
        raise ValueError(
            f"{bundle.path} must read tokens or values to be served, got words; use rnnlab predict"
        )
    model = bundle.model()
    require_one_sequence(model, "be served")
    sizes = bundle.description.sizes
    # Classes may be other than the tokens, such as actions at items.
    predicts_next = (
        bundle.description.autoregressive
        and bundle.loss == "categorical"
        and sizes.vocab_size == sizes.out_features
    )
    interface = Interface.of(model, bundle.vocabulary, bundle.classes, predicts_next)
    slots = (limits.slots, limits.per_event)
    if engine == "jax":
        return JaxSlots(model, *slots), interface
    sequence = bundle.read("sequence.onnx") if "sequence.onnx" in bundle.files else None
    return OnnxSlots(model, bundle.read("step.onnx"), sequence, *slots), interface


def _monitor(bundle: Bundle) -> DriftMonitor | None:
    """Returns a monitor of the bundle's held-out data; None without statistics of windows."""
    if not bundle.reference:
        return None
    reference = load_dataclass(Reference, bundle.reference, f"{bundle.path}/reference.json")
    return DriftMonitor(reference, bundle.name) if reference.windows else None


def _prepare(bundle: Bundle) -> Callable[[np.ndarray], np.ndarray] | None:
    """Returns the standardization of values by the means and deviations of the training."""
    preparation = bundle.preparation
    if not isinstance(preparation, SequencePreparation) or preparation.input_mean is None:
        return None
    mean, scale = preparation.input_mean, preparation.input_scale
    return lambda values: ((values - mean) / scale).astype(np.float32)
