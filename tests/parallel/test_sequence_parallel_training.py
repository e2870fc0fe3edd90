"""The compiled update of a whole model over a cut time axis: its collectives and its memory."""

import ast
import re
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from rnnlab.models.config import ModelConfig
from rnnlab.parallel.collectives import collectives, total_bytes
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.parallel.placement import Placement
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig
from rnnlab.train.step import initial_state, make_train_step

pytestmark = [pytest.mark.devices(8), pytest.mark.usefixtures("quick_compile")]

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
FORMULA = re.compile(r"^\| [^|]+ \| (all-\w+|collective-\w+) \| `(.+)` \|$", re.MULTILINE)
EXAMPLES, VOCABULARY, SCALAR_BYTES = 2, 16, 8
MODEL = {"width": 8, "depth": 2, "expansion": 2, "conv_kernel_size": 4, "mlp_expansion": 2}


@cache
def compiled_update(mesh, length):
    """Returns the program of one update and the number of parameters."""
    model = ModelConfig("mingru").override(MODEL)
    model = model.build(VOCABULARY, vocab_size=VOCABULARY, rngs=nnx.Rngs(0))
    params, config = nnx.state(model, nnx.Param), TrainConfig()
    placement = Placement(mesh, params) if mesh.num_devices > 1 else None
    ids = np.zeros((1, EXAMPLES, length), np.int32)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), Batch(ids, ids))
    batches = shapes if placement is None else placement.with_shardings(shapes)
    step = make_train_step(nnx.graphdef(model), "categorical", config, None, placement)
    with jax.numpy_dtype_promotion("standard"):
        program = step.lower(initial_state(model, config, (), placement), batches).compile()
    return program, sum(x.size for x in jax.tree.leaves(params))


def exchanges(mesh, length):
    """Returns the collectives of an update, without those of a scalar."""
    found = collectives(compiled_update(mesh, length)[0].as_text())
    return [c for c in found if c.num_bytes > SCALAR_BYTES]


def test_collectives_of_a_whole_update_do_not_grow_with_the_length():
    short, long = (exchanges(MeshConfig(time=8), length) for length in (128, 16384))
    assert sorted(short) == sorted(long)
    assert not any(c.is_repeated for c in long)


@pytest.mark.parametrize(
    "mesh",
    [
        MeshConfig(time=8),
        pytest.param(MeshConfig(data=2, time=4), marks=pytest.mark.slow),
        pytest.param(MeshConfig(data=2), marks=pytest.mark.slow),
    ],
)
def test_bytes_of_an_update_are_those_of_the_page(mesh):
    """The page states a formula per kind of collective, which is evaluated here."""
    numbers = {
        "P": compiled_update(mesh, 128)[1],
        "L": MODEL["depth"],
        "B": EXAMPLES // mesh.data,
        "W": MODEL["width"],
        "E": MODEL["expansion"] * MODEL["width"],
        "K": MODEL["conv_kernel_size"],
        "N": mesh.time,
    }
    stated = dict(
        re.findall(r"^\| [^|]+ \| (all-\w+|collective-\w+) \| `(.+)` \|$", PAGE.read_text(), re.M)
    )
    assert set(stated) == {"all-reduce", "all-gather", "collective-permute"}
    if mesh.time == 1:
        stated = {"all-reduce": stated["all-reduce"]}
    expected = {kind: 4 * value_of(formula, numbers) for kind, formula in stated.items()}
    assert total_bytes(exchanges(mesh, 128)) == expected


def value_of(formula, numbers):
    """Evaluates a formula of sums and products."""
    tree = ast.parse(formula, mode="eval")
    allowed = ast.Expression, ast.BinOp, ast.Name, ast.Constant, ast.operator, ast.expr_context
    assert all(isinstance(node, allowed) for node in ast.walk(tree)), formula
    return eval(compile(tree, "formula", "eval"), {}, numbers)  # noqa: S307, of our own page


@pytest.mark.parametrize("devices", [8, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4))])
def test_temporaries_of_an_update_fall_with_the_devices_of_time(devices):
    one, many = (
        compiled_update(MeshConfig(time=n), 16384)[0].memory_analysis().temp_size_in_bytes
        for n in (1, devices)
    )
    assert many == pytest.approx(one / devices, rel=0.15)
