"""Pairs of sequences as batches, and predictions of new ones."""

import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.losses.ctc import frames_needed
from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.pair_predictions import predicted_texts
from rnnlab.tasks.sequence_pairs import (
    END,
    QUANTILES,
    PairForm,
    SequencePairs,
    with_common_bounds,
)

BEGIN = 9


def random_pairs(form=None, count=50):
    rng = np.random.default_rng(0)
    sources = [rng.integers(0, 5, rng.integers(1, 12)).astype(np.int32) for _ in range(count)]
    choices = [
        [rng.integers(1, 5, rng.integers(1, 9)).astype(np.int32) for _ in range(rng.integers(1, 4))]
        for _ in range(count)
    ]
    return SequencePairs(sources, choices, form or PairForm(begin=BEGIN))


def target_of(batch, row):
    """The labels of an example, read back from its targets, without the end."""
    kept = batch.targets[row][batch.targets[row] != IGNORE_INDEX]
    assert kept[-1] == END
    return kept[:-1].tolist()


def test_epoch_has_every_pair_once_with_one_of_its_targets():
    pairs, seen = random_pairs(), []
    train_batch = pairs.training_batches(8, seed=0)
    batches = [train_batch(n) for n in range(7)]
    for batch in batches:
        for row in np.flatnonzero(batch.mask.any(1)):
            k = int(batch.example[row])
            seen.append(k)
            source = batch.source.inputs[row][batch.source.mask[row]]
            assert source.tolist() == pairs.sources[k].tolist()
            target = target_of(batch, row)
            assert target in [x.tolist() for x in pairs.choices[k]]
            assert batch.inputs[row][batch.mask[row]].tolist() == [BEGIN, *target]
    assert sorted(seen) == list(range(50))
    assert len({batch.inputs.shape + batch.source.inputs.shape for batch in batches}) <= len(
        QUANTILES
    )


def test_targets_are_drawn_again_in_each_epoch():
    pairs = SequencePairs([np.array([1])], [[np.array([1]), np.array([2])]], PairForm(begin=3))
    train_batch = pairs.training_batches(1, seed=0)
    drawn = [target_of(train_batch(n), 0) for n in range(40)]
    assert 10 < sum(x == [1] for x in drawn) < 30
    assert drawn == [target_of(pairs.training_batches(1, seed=0)(n), 0) for n in range(40)]
    other_seed = pairs.training_batches(1, seed=1)
    assert drawn != [target_of(other_seed(n), 0) for n in range(40)]


def test_evaluation_has_every_pair_once_with_its_first_target():
    pairs, seen = random_pairs(), {}
    for batch in pairs.eval_batches(16):
        for row in np.flatnonzero(batch.example >= 0):
            seen[int(batch.example[row])] = target_of(batch, row)
    assert seen == {k: of[0].tolist() for k, of in enumerate(pairs.choices)}


def test_common_bounds_give_parts_common_shapes():
    small = random_pairs(count=5)
    parts = with_common_bounds({"train": random_pairs(count=60), "valid": small})
    shapes = [
        {x.inputs.shape[1:] + x.source.inputs.shape[1:] for x in part.eval_batches(4)}
        for part in parts.values()
    ]
    assert shapes[1] <= shapes[0]
    assert len(shapes[0]) <= len(QUANTILES)


def test_ctc_repeats_the_source_and_fits_as_the_loss_needs():
    form = PairForm("ctc", repeats=2)
    pairs = random_pairs(form)
    for batch in pairs.eval_batches(16):
        assert batch.targets is None
        needed = np.asarray(frames_needed(jnp.asarray(batch.labels)))
        for row in np.flatnonzero(batch.example >= 0):
            k = int(batch.example[row])
            frames = batch.inputs[row][batch.mask[row]]
            assert frames.tolist() == np.repeat(pairs.sources[k], 2).tolist()
            target = pairs.choices[k][0]
            assert batch.labels[row][batch.labels[row] >= 0].tolist() == target.tolist()
            assert form.fits(pairs.sources[k], target) == (needed[row] <= len(frames))


def test_predictions_are_in_the_order_of_the_sources():
    sources = random_pairs().sources

    def outputs(batch):
        return batch.source.inputs.sum(1, keepdims=True)

    def decode(labels, batch):
        return labels[:, 0].tolist()

    found = predicted_texts(outputs, sources, PairForm(), 7, decode)
    assert found == [int(source.sum()) for source in sources]


def test_digest_changes_with_a_target_and_with_the_form():
    pairs = random_pairs()
    other = [[x.copy() for x in of] for of in pairs.choices]
    other[3][0][0] += 1
    digests = {
        pairs.digest(),
        SequencePairs(pairs.sources, other, pairs.form).digest(),
        random_pairs(PairForm("ctc")).digest(),
    }
    assert len(digests) == 3
    assert pairs.digest() == random_pairs().digest()


def test_unknown_alignment_raises():
    with pytest.raises(ValueError, match=r"alignment must be one of .*'monotonic'"):
        PairForm("monotonic")
