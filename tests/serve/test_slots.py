"""A stream's numbers depend on its inputs and its seed, not on its slot or its neighbors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from serve.models import LazySlots, text_model, tokens_alone, value_model

from rnnlab.models.config import ModelConfig
from rnnlab.serve import jax_slots
from rnnlab.serve.jax_slots import JaxSlots
from rnnlab.serve.sampling import NOT_FINITE, POSITION, sample_rows, settings_row
from rnnlab.serve.slots import chunk_length

PER_CALL = 3


def read_all(slots, row, prompt, gaps=None):
    """Reads a prompt in chunks and returns the predictions for all of its time steps."""
    start, parts = 0, []
    while start < len(prompt):
        part = prompt[start : start + chunk_length(len(prompt) - start)]
        read = slots.read([row], [part], [start == 0], wants_outputs=True)
        parts.append(read.outputs[0, : len(part)])
        start += len(part)
    return np.concatenate(parts)


def tokens_of(slots, rows, settings, calls):
    """Generates with several rows together; (rows, calls * PER_CALL)."""
    settings, parts = np.array(settings), []
    for _ in range(calls):
        parts.append(slots.advance(rows, settings))
        settings[:, POSITION] += PER_CALL
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(0.8, None, None), (1.3, 4, 0.7), (1.0, None, 0.5), (0.0, None, None)],
)
def test_slots_generate_the_tokens_of_generate(temperature, top_k, top_p):
    prompt = np.arange(20) % 11
    slots = LazySlots(text_model(), 4, PER_CALL)
    read_all(slots, 2, prompt)
    tokens = tokens_of(slots, [2], [settings_row(7, temperature, top_k, top_p)], 4)[0].tolist()
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    alone = tokens_alone(text_model(), prompt, 12, seed=7, **options)
    assert tokens == alone


def test_chunks_read_the_predictions_of_the_whole_sequence():
    prompt = np.arange(150) % 11
    read = read_all(LazySlots(text_model(), 4, PER_CALL), 0, prompt)
    _, whole = text_model()(jnp.asarray(prompt))
    np.testing.assert_allclose(read, whole, rtol=0, atol=2e-5 * np.abs(whole).max())


def test_row_has_the_same_bits_with_other_neighbors_and_in_another_slot():
    prompts = [np.array([1, 2, 3]), np.array([4, 4, 4, 4]), np.array([9, 0])]
    settings = [settings_row(seed, 1.0, None) for seed in range(3)]
    together = LazySlots(text_model(), 4, PER_CALL)
    for row, prompt in enumerate(prompts):
        read_all(together, row, prompt)
    # Three rows and one row with others that are different: the same bucket of four rows.
    expected = tokens_of(together, [0, 1, 2], settings, 5)
    other = LazySlots(text_model(), 4, PER_CALL)
    for row, prompt in ((3, prompts[1]), (0, np.array([10])), (1, np.array([7, 7, 7]))):
        read_all(other, row, prompt)
    strange = settings_row(99, 0.3, 2)
    found = tokens_of(other, [0, 3, 1], [strange, settings[1], strange], 5)
    assert found[1].tolist() == expected[1].tolist()
    for one, two in zip(together._state, other._state, strict=True):
        assert np.array_equal(np.asarray(one)[1], np.asarray(two)[3])


def test_row_that_is_not_finite_changes_no_neighbor():
    slots, alone = (LazySlots(value_model(), 4, PER_CALL) for _ in range(2))
    xs = np.ones((5, 2), np.float32)
    read = slots.read([0, 1], [xs * np.nan, xs], [True, True], wants_outputs=True)
    assert read.not_finite.tolist() == [0, -1]
    expected = alone.read([2, 3], [xs, xs], [True, True], wants_outputs=True)
    assert np.array_equal(read.outputs[1], expected.outputs[0])


def test_first_chunk_resets_the_state_of_the_stream_before():
    slots = LazySlots(text_model(), 4, PER_CALL)
    expected = read_all(slots, 1, np.array([3, 1, 2]))
    read_all(slots, 1, np.arange(30) % 11)
    assert np.array_equal(read_all(slots, 1, np.array([3, 1, 2])), expected)


def test_surprise_is_the_negative_log_likelihood_of_the_inputs():
    prompt = np.array([3, 1, 4, 1])
    slots = LazySlots(text_model(), 4, PER_CALL)
    surprise = slots.read([0], [prompt], [True]).surprise[0, :4]
    _, logits = text_model()(jnp.asarray(prompt))
    scores = np.asarray(jax.nn.log_softmax(logits, axis=-1))
    assert np.isnan(surprise[0])
    expected = [-scores[t, prompt[t + 1]] for t in range(3)]
    np.testing.assert_allclose(surprise[1:], expected, rtol=1e-4)


def test_other_weights_compile_nothing():
    jax_slots._programs.cache_clear()
    one = JaxSlots(text_model(0), 1, 2)
    one.warm_up()
    read, advance = one._programs
    before = read._cache_size(), advance._cache_size()
    two = JaxSlots(text_model(1), 1, 2)
    two.warm_up()
    assert (read._cache_size(), advance._cache_size()) == before
    assert two._programs is one._programs


def test_model_that_reads_both_directions_is_refused():
    config = ModelConfig("mingru", width=8, depth=1, bidirectional=True)
    model = config.build(3, vocab_size=3, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="one time step after another"):
        JaxSlots(model, 1, 1)


def test_sampled_row_with_logits_that_are_not_finite_is_marked():
    logits = jnp.array([[0.0, jnp.nan], [5.0, 0.0], [jnp.inf, 0.0]])
    settings = jnp.asarray(np.stack([settings_row(0, 0.0, None)] * 3))
    assert sample_rows(logits, settings).tolist() == [NOT_FINITE, 0, NOT_FINITE]
