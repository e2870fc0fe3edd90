"""The call of a model on a batch: which fields it gets, and its decoder in an evaluation."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import ModelConfig
from rnnlab.errors import DataError
from rnnlab.tasks.batch import IGNORE_INDEX, Batch, Source
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.decoding import Decoding
from rnnlab.train.evaluate import evaluate, make_decode, make_predict
from rnnlab.train.metrics import METRICS, DecodedMetric
from rnnlab.train.model_call import call_model
from rnnlab.train.prefetch import prefetch_batches, validate_batch


class Decoded(NamedTuple):
    labels: jax.Array


class SourceReader(nnx.Module):
    """Records what it is called with; its decoder returns the source's first tokens."""

    uses_source = True
    uses_labels = True

    def __init__(self):
        self.scale = nnx.Param(jnp.ones(()))

    def initial_carry(self, batch_shape):
        return ("carry", batch_shape)

    def __call__(self, carry, xs, **options):
        self.seen = nnx.data((carry, options))
        return carry, jnp.zeros((*xs.shape, 2)) * self.scale

    def decode(self, xs, mask, *, max_length, begin, end, beam, length_penalty):
        labels = jnp.where(mask, xs, -5)[:, None, :max_length]
        return Decoded(jnp.concatenate([labels, jnp.zeros_like(labels)], 1))


BATCH = Batch(
    np.zeros((2, 3), np.int32),
    np.ones((2, 3), np.int32),
    source=Source(np.array([[4, 5, 6], [7, 0, 0]]), np.array([[1, 1, 1], [1, 0, 0]], bool)),
    labels=np.array([[4, 5], [7, IGNORE_INDEX]]),
)


def data(decode, **changes):
    settings = {"vocab_size": 2, "source_vocab_size": 8, "decode": decode, **changes}
    return TaskData(
        "categorical", ("right",), 8, lambda n: BATCH, {"test": lambda: [BATCH]}, dict, **settings
    )


@pytest.fixture
def right(monkeypatch):
    """A metric: the share of predictions that equal their reference."""

    def share(predictions, references):
        return float(np.mean([a == b for a, b in zip(predictions, references, strict=True)]))

    monkeypatch.setitem(METRICS, "right", DecodedMetric(share, True))


def test_model_that_reads_source_and_labels_gets_them_with_the_initial_carry():
    model = SourceReader()
    call_model(model, (), BATCH)
    carry, options = model.seen
    assert carry == ("carry", (2,))
    assert sorted(options) == ["key", "labels", "mask", "reset", "source", "source_mask"]
    assert options["source"] is BATCH.source.inputs
    assert options["labels"] is BATCH.labels
    call_model(model, ("other",), BATCH)
    assert model.seen[0] == ("other",)


def test_evaluation_with_a_decoder_passes_label_sequences_to_the_task(right):
    graphdef, params = nnx.split(SourceReader(), nnx.Param)
    decoding = Decoding(max_length=2)

    def pairs(labels, batch):
        assert labels.shape == (2, 2)
        return [
            (row[row != IGNORE_INDEX].tolist(), wanted[wanted != IGNORE_INDEX].tolist())
            for row, wanted in zip(labels, batch.labels, strict=True)
        ]

    task = data(pairs, decoding=decoding)
    decode = make_decode(graphdef, task.decoding)
    predict = make_predict(graphdef)
    assert evaluate(predict, params, task, [BATCH], decode=decode) == {"right": 1.0}


def test_evaluation_without_a_decoder_passes_outputs_to_the_task(right):
    graphdef, params = nnx.split(SourceReader(), nnx.Param)
    assert make_decode(graphdef, None) is None
    model = ModelConfig(width=8, depth=1).build(2, vocab_size=2, rngs=nnx.Rngs(0))
    assert make_decode(nnx.graphdef(model), Decoding(max_length=2)) is None
    task = data(lambda outputs, batch: [(outputs.shape, (2, 3, 2))])
    assert evaluate(make_predict(graphdef), params, task, [BATCH]) == {"right": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": Source(np.array([[8]]))}, "source must be from 0 to 7, got 8"),
        ({"labels": np.array([[-2]])}, "labels must be from -1 to 7, got -2"),
    ],
)
def test_batch_with_ids_out_of_range_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        validate_batch(data(None), BATCH._replace(**change))


def test_sources_of_different_lengths_in_one_update_are_refused():
    longer = BATCH._replace(source=Source(np.zeros((2, 4), np.int32), np.ones((2, 4), bool)))
    task = replace(data(None), train_batch=lambda n: longer if n else BATCH)
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(2, 4\)"):
        next(prefetch_batches(task, 2, 0, 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 0}, "max_length"),
        ({"max_length": 2, "beam": 0}, "beam"),
        ({"max_length": 2, "begin": -1}, "begin must be a token id >= 0"),
        ({"max_length": 2, "length_penalty": -1.0}, "length_penalty must be finite"),
    ],
)
def test_decoding_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Decoding(**settings)
