"""Stacks of cells in one call: layers, directions, dropout, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import GRU, Bidirectional, Dropout, NNXCell, Stack, stack_cells

pytestmark = pytest.mark.usefixtures("quick_compile")


def test_stack_has_the_layers_of_torch(getkey):
    stack = stack_cells(
        "gru", 3, 4, num_layers=3, bidirectional=True, dropout=0.5, rngs=nnx.Rngs(0), backend="scan"
    )
    kinds = [Bidirectional, Dropout, Bidirectional, Dropout, Bidirectional]
    assert [type(layer) for layer in stack.layers] == kinds
    assert [layer.in_features for layer in stack.layers] == [3, 8, 8, 8, 8]
    assert stack.layers[-1].backward.backend == "scan"
    xs = jax.random.normal(getkey(), (2, 5, 3))
    dropped = stack(xs, key=getkey())[1]
    stack.eval()
    assert (dropped != stack(xs)[1]).any()
    plain = Stack([layer for layer in stack.layers if not isinstance(layer, Dropout)])
    np.testing.assert_array_equal(stack(xs)[1], plain(xs)[1])


def test_cell_is_a_name_a_class_or_a_function():
    for cell in ("gru", GRU, lambda *sizes, **options: GRU(*sizes, **options)):
        assert isinstance(stack_cells(cell, 3, 4, rngs=nnx.Rngs(0)).layers[0], GRU)
    made = stack_cells(nnx.GRUCell, 3, 4, num_layers=2, rngs=nnx.Rngs(0))
    assert all(isinstance(layer, NNXCell) for layer in made.layers)
    assert made(jnp.ones((5, 3)))[1].shape == (5, 4)


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        ("gruu", {}, "cell 'gruu' is unknown; did you mean 'gru'"),
        ("tcn", {}, "cell must be a recurrent cell, got the layer 'tcn'; build a model"),
        (GRU(3, 4, rngs=nnx.Rngs(0)), {}, "got GRU; pass its class"),
        ("gru", {"num_layers": 0}, "num_layers must be an int >= 1, got 0"),
        ("gru", {"num_layers": 2, "dropout": 1.5}, r"dropout must be in \[0, 1\), got 1.5"),
    ],
)
def test_invalid_argument_raises_value_error(cell, options, message):
    with pytest.raises(ValueError, match=message):
        stack_cells(cell, 3, 4, rngs=nnx.Rngs(0), **options)
