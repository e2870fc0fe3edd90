"""Batches on several devices: each reads and gets its own rows and time steps."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rnnlab.tasks import Adding
from rnnlab.tasks.token_files import prepare_token_file
from rnnlab.tasks.tokens import Tokens
from rnnlab.train import placement
from rnnlab.train.prefetch import prefetch_batches

pytestmark = pytest.mark.devices(4)


@pytest.fixture
def shardings():
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "time"))
    sharding = NamedSharding(mesh, PartitionSpec(None, "data", "time"))
    return lambda shapes: jax.tree.map(lambda _: sharding, shapes)


def tokens(folder):
    (folder / "a.txt").write_text("once upon a time " * 40)
    file = prepare_token_file([folder / "a.txt"], folder / "a.tokens")
    return Tokens(file.path, length=8, batch_size=4)


@pytest.mark.parametrize("make", [tokens, lambda folder: Adding(length=8, batch_size=4)])
def test_batches_on_a_mesh_equal_those_of_one_device(tmp_path, shardings, make):
    data = make(tmp_path).load(seed=0)
    plain = prefetch_batches(data, 2, 0, 3)
    placed = prefetch_batches(data, 2, 0, 3, shardings=shardings)
    for x, y in zip(plain, placed, strict=True):
        jax.tree.map(np.testing.assert_array_equal, x, y)
        assert y.inputs.sharding.shard_shape(y.inputs.shape)[:3] == (2, 2, 4)


def test_place_takes_rows_from_the_first_one_that_was_read(shardings):
    whole = tokens_batch = np.arange(64.0, dtype=np.float32).reshape(1, 4, 16)
    shapes = placement.batch_shapes(placement.Batch(whole, None))
    placed = placement.place(
        placement.Batch(np.pad(tokens_batch, ((0, 0), (2, 0), (0, 0))), None),
        -2,
        shapes,
        shardings(shapes),
    )
    np.testing.assert_array_equal(placed.inputs, whole)
