"""Batches with every field: selected, cut, padded, packed and digested."""

import numpy as np
import pytest

from rnnlab.tasks.batch import IGNORE_INDEX, Batch, Source, arrays, cut, select
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.batching.strategies import training_batches
from rnnlab.tasks.labelled_data import labelled_data


def full_batch(examples=5):
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 7, examples)
    mask = np.arange(6) < lengths[:, None]
    gaps = np.where(mask, rng.random((examples, 6)), 0).astype(np.float32)
    gaps[:, 0] = 0
    return Batch(
        inputs=np.where(mask[..., None], rng.normal(size=(examples, 6, 3)), 0).astype(np.float32),
        targets=np.where(mask, rng.integers(0, 2, (examples, 6)), IGNORE_INDEX).astype(np.int32),
        mask=mask,
        gaps=gaps,
        source=Source(rng.integers(0, 9, (examples, 8)).astype(np.int32)),
        labels=rng.integers(0, 4, (examples, 3)).astype(np.int32),
        example=np.arange(examples, dtype=np.int32),
    )


def test_select_takes_the_same_examples_of_every_field():
    batch = select(full_batch(), [3, 1])
    assert batch.example.tolist() == [3, 1]
    for found, whole in zip(arrays(batch), arrays(full_batch()), strict=True):
        np.testing.assert_array_equal(found, whole[[3, 1]])
    assert batch.reset is None


def test_cut_shortens_only_the_fields_with_the_time_of_the_inputs():
    batch = cut(full_batch(), 2)
    assert batch.inputs.shape == (5, 2, 3)
    assert batch.gaps.shape == (5, 2)
    assert batch.source.inputs.shape == (5, 8)
    assert batch.labels.shape == (5, 3)


def test_split_batches_pads_every_field_with_examples_that_do_not_count():
    *_, last = split_batches(full_batch(), 2)
    assert all(len(x) == 2 for x in arrays(last))
    assert last.example.tolist() == [4, -1]
    assert not last.mask[1].any()
    assert not last.source.mask[1].any()
    assert last.source.mask[0].all()
    assert (last.labels[1] == IGNORE_INDEX).all()
    assert not last.gaps[1].any()


def test_packed_batches_keep_each_time_steps_gap():
    batch = full_batch()._replace(source=None, labels=None)
    packed = training_batches(batch, "pack", 5, seed=0)(0)
    first = batch.inputs[batch.mask][:, 0]
    gap_of = dict(zip(first.tolist(), batch.gaps[batch.mask].tolist(), strict=True))
    real = packed.mask
    found = [gap_of[x] for x in packed.inputs[real][:, 0].tolist()]
    assert found == packed.gaps[real].tolist()
    assert not packed.gaps[packed.reset].any()


def test_packing_with_a_source_is_an_error():
    with pytest.raises(ValueError, match="batching must be 'pad' or 'bucket'"):
        training_batches(full_batch(), "pack", 2, seed=0)


@pytest.mark.parametrize("field", ["gaps", "source", "labels"])
def test_fingerprint_changes_with_each_field(field):
    def digest(batch):
        return labelled_data(
            batch, {"valid": batch, "test": batch}, out_features=2, batch_size=2, seed=0
        ).fingerprint

    batch = full_batch()
    value = getattr(batch, field)
    changed = Source(value.inputs + 1) if field == "source" else value + 1
    assert digest(batch) != digest(batch._replace(**{field: changed}))
    assert digest(batch) != digest(batch._replace(**{field: None}))
