"""Parameters by name are those of the module, and others replace them completely or not at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.models.config import ModelConfig
from rnnlab.models.parameters import named_parameters, with_parameters


def _model(seed):
    return ModelConfig(cell="gru", width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(seed))


def test_with_parameters_of_another_model_gives_its_outputs_and_keeps_the_first():
    first, second = _model(0), _model(1)
    before = jax.tree.map(np.asarray, named_parameters(first))
    tokens = jnp.array([[1, 4, 0]])
    made = with_parameters(first, named_parameters(second))
    np.testing.assert_array_equal(made(tokens)[1], second(tokens)[1])
    jax.tree.map(np.testing.assert_array_equal, named_parameters(first), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("embedding"), "must have the parameter 'embedding'"),
        (lambda a: a.update(extra=a["embedding"]), "got 'extra'"),
        (lambda a: a.update(embedding=a["embedding"].T), r"'embedding' must have shape \(5, 8\)"),
        (lambda a: a.update(embedding=np.float16(a["embedding"])), "float16"),
    ],
)
def test_with_parameters_that_do_not_fit_names_the_first(change, message):
    model = _model(0)
    arrays = dict(named_parameters(model))
    change(arrays)
    with pytest.raises(ValueError, match=message):
        with_parameters(model, arrays)
