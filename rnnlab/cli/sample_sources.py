"""Targets that a model generates from sources, for `rnnlab sample`."""

from collections.abc import Sequence
from dataclasses import asdict

import jax.numpy as jnp
import numpy as np

from rnnlab.cli.commands import Sample
from rnnlab.models.decoding.decoded import Decoded
from rnnlab.runs.trained_model import TrainedModel
from rnnlab.tables import Table, print_table
from rnnlab.tasks.source_preparation import SourcePreparation
from rnnlab.validation import require_positive_int


def sample_sources(
    command: Sample,
    trained: TrainedModel,
    preparation: SourcePreparation,
    sources: Sequence[str],
) -> int:
    """Prints the hypotheses of the decoder for each source, the best one first.

    Raises:
      DataError: a source has a symbol that the training lacks.
      ValueError: the model has no decoder, the beam is out of range, or an option is only of other
        models.
    """
    if command.perplexity is not None:
        raise ValueError(
            f"perplexity must be None for {command.folder}, whose model generates from a source; "
            "run rnnlab predict on texts with their targets"
        )
    for text in sources:
        source = preparation.encode_source(text)
        found = hypotheses(trained, preparation, source, command.beam)
        lines = [
            (preparation.target_text(labels[:length]), f"{score:.3f}")
            for labels, score, length in zip(*map(np.asarray, found), strict=True)
            if np.isfinite(score)
        ]
        print_table(Table(f"Generated from: {text.strip()}", ("target", "log probability"), lines))
    return 0


def hypotheses(
    trained: TrainedModel, preparation: SourcePreparation, source: np.ndarray, beam: int | None
) -> Decoded:
    """Returns the hypotheses of the decoder for one source, without a batch axis.

    Args:
      trained: the model.
      preparation: its vocabularies.
      source: token ids (source_time,).
      beam: number of hypotheses; None: that of the run.

    Raises:
      ValueError: the model has no decoder, or the beam is out of range.
    """
    decoding = preparation.decoding
    if decoding is None or not hasattr(trained.model, "decode"):
        raise ValueError(
            f"{trained.path} must have a model with a decoder, got {type(trained.model).__name__}, "
            "whose targets follow from its outputs; run rnnlab predict"
        )
    settings = asdict(decoding)
    if beam is not None:
        require_positive_int(beam=beam)
        settings["beam"] = beam
    batch = preparation.form.source_batch([source], len(source))
    read = batch if batch.source is None else batch.source
    mask = None if read.mask is None else jnp.asarray(read.mask)
    found = trained.model.decode(jnp.asarray(read.inputs), mask, **settings)
    return Decoded(*(x[0] for x in found))
