"""Outside `jax.shard_map`, nothing is cast; inside it: tests/parallel/test_shard_map.py."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from rnnlab import CELLS
from rnnlab.scan.varying import match_varying, varying_axes


def test_match_varying_outside_shard_map_returns_the_same_tree():
    tree = {"a": jnp.ones(3), "none": None, "b": (jnp.zeros(2),)}
    assert match_varying(tree) is tree
    assert varying_axes(tree) == frozenset()


@pytest.mark.parametrize("name", CELLS)
def test_program_of_a_cell_outside_shard_map_has_no_cast(name):
    cell = CELLS[name](3, 4, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(cell)

    def loss(params, xs):
        return jnp.sum(nnx.merge(graphdef, params, copy=True)(xs)[1])

    program = str(jax.make_jaxpr(jax.grad(loss))(params, jnp.ones((2, 5, 3))))
    assert "scan" in program or "while" in program
    assert "pvary" not in program
    assert "pcast" not in program
