"""Decoders of CTC outputs against the enumeration of all alignments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from label_oracles import collapse, ctc_by_alignments, log_softmax

from rnnlab import ctc_loss
from rnnlab.losses.label_sequences import left_align
from rnnlab.models.decoding.ctc import ctc_beam, ctc_decode, ctc_greedy

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)


def labels_in(row):
    return tuple(int(x) for x in row if x >= 0)


@pytest.mark.parametrize("repeated", [False, True])
def test_beam_of_all_prefixes_equals_the_sum_over_all_alignments(repeated):
    logits = RNG.normal(size=(4, 3)).astype(np.float32)
    if repeated:
        logits[:, 2] += 3  # equal labels follow each other
    expected = ctc_by_alignments(log_softmax(logits))
    _, found = ctc_beam(jnp.asarray(logits), beam=40)
    probabilities = {
        labels_in(row): float(np.exp(score))
        for row, score in zip(found.labels, found.scores, strict=True)
        if score > -np.inf
    }
    assert len(expected) == len(probabilities) == (np.asarray(found.scores) > -np.inf).sum()
    assert probabilities == pytest.approx(expected, rel=1e-5)
    assert labels_in(found.labels[0]) == max(expected, key=expected.get)


def test_greedy_stream_equals_the_whole_sequence():
    logits = jnp.asarray(RNG.normal(size=(3, 12, 3)), jnp.float32)
    mask = jnp.arange(12)[None] < jnp.array([[12], [6], [0]])
    _, whole = ctc_greedy(logits, mask=mask)
    carry, parts = None, []
    for part, real in zip(jnp.split(logits, 4, 1), jnp.split(mask, 4, 1), strict=True):
        carry, labels = ctc_greedy(part, carry, mask=real)
        parts.append(labels)
    assert np.concatenate(parts, 1).tolist() == whole.tolist()
    for row, x, real in zip(left_align(whole), logits, mask, strict=True):
        assert labels_in(row) == collapse(np.asarray(x)[np.asarray(real)].argmax(-1).tolist())


def test_beam_stream_equals_the_whole_sequence_and_padding_does_not_count():
    logits = jnp.asarray(RNG.normal(size=(2, 9, 4)) * 2, jnp.float32)
    _, whole = ctc_beam(logits, beam=3)
    carry = None
    for part in jnp.split(logits, [1, 5], 1):
        carry, found = ctc_beam(part, carry, beam=3, max_labels=9)
    assert found.labels.tolist() == whole.labels.tolist()
    assert found.times.tolist() == whole.times.tolist()
    np.testing.assert_allclose(found.scores, whole.scores, atol=1e-5)
    padded = jnp.pad(logits, ((0, 0), (0, 3), (0, 0)), constant_values=7)
    mask = jnp.arange(12)[None].repeat(2, 0) < 9
    _, found = ctc_beam(padded, mask=mask, beam=3, max_labels=9)
    assert found.labels.tolist() == whole.labels.tolist()


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_decoding_is_never_less_likely_than_greedy(count):
    logits = jnp.asarray(RNG.normal(size=(count, 9, 4)) * 1.5, jnp.float32)
    greedy = left_align(ctc_greedy(logits)[1])
    found = ctc_decode(logits, beam=3)
    exact, feasible = jax.jit(ctc_loss)(logits, found.labels[:, 0])
    assert feasible.all()
    np.testing.assert_allclose(found.scores[:, 0], -exact, atol=1e-4)
    assert (found.scores[:, 0] >= -jax.jit(ctc_loss)(logits, greedy).nats - 1e-4).all()
    assert (jnp.diff(found.scores, axis=-1) <= 0).all()
