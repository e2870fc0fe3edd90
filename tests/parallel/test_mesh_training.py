"""Updates on a mesh against those of one device: losses, collectives, guards, carried states."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.layers import norm
from rnnlab.models.config import ModelConfig
from rnnlab.parallel import gradient
from rnnlab.parallel.collectives import collectives
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.parallel.placement import Placement
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig
from rnnlab.train.step import initial_state, make_train_step

pytestmark = pytest.mark.devices(8)

VOCABULARY, EXAMPLES, LENGTH, UPDATES = 8, 8, 24, 50
ONE = None
DATA, FSDP, MODEL = MeshConfig(data=8), MeshConfig(data=8, fsdp=True), MeshConfig(model=8)
TIME, CUBE = MeshConfig(time=8), MeshConfig(data=2, time=2, model=2)


@pytest.fixture(autouse=True)
def implicit(monkeypatch):
    """Optax raises integers to powers, which strict promotion forbids."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def model_of(cell, **options):
    small = {"width": 16, "depth": 1, "expansion": 2, "conv_kernel_size": 3, "mlp_expansion": 4}
    config = ModelConfig(cell).override(small | options)
    return config.build(VOCABULARY, vocab_size=VOCABULARY, rngs=nnx.Rngs(0))


def padded_batch(number, examples=EXAMPLES):
    """Rows of different lengths, so that the devices have different numbers of targets."""
    rng = np.random.default_rng(number)
    ids = rng.integers(VOCABULARY, size=(examples, LENGTH + 1), dtype=np.int32)
    mask = np.arange(LENGTH)[None] < rng.integers(1, LENGTH + 1, size=(examples, 1))
    return Batch(ids[:, :-1], ids[:, 1:].copy(), mask)


def training(model, mesh=ONE, config=None, carry=(), **options):
    """The state, the step, and a function that puts the batches of one update on the devices."""
    config = config or TrainConfig(learning_rate=1e-2)
    placement = mesh and Placement(mesh, nnx.state(model, nnx.Param))
    step = make_train_step(nnx.graphdef(model), "categorical", config, options, placement)

    def put(*batches):
        stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
        if placement is None:
            return stacked
        return jax.device_put(stacked, placement.batch(stacked, stacked=True))

    state = initial_state(model, config, carry, placement)
    return SimpleNamespace(state=state, step=step, put=put)


def losses(model, mesh=ONE, updates=UPDATES, **options):
    run, found = training(model, mesh, **options), []
    state = run.state
    for n in range(updates):
        state, metrics = run.step(state, run.put(padded_batch(n)))
        found.append(float(metrics["loss"]))
    return np.array(found)


EVERYDAY = [*(("mingru", {}, mesh) for mesh in (FSDP, TIME, CUBE)), ("gru", {}, DATA)]
CASES = [
    *EVERYDAY,
    *(
        pytest.param(cell, options, mesh, marks=pytest.mark.slow)
        for cell, options in (
            ("mingru", {}),
            ("minlstm", {}),
            ("gru", {}),
            ("lstm", {}),
            ("mamba", {}),
            ("mingru", {"depth": 3, "remat": True}),
            ("mingru", {"bidirectional": True}),
            ("gru", {"bidirectional": True}),
        )
        for mesh in (DATA, FSDP, MODEL, TIME, CUBE)
        if (cell, options, mesh) not in EVERYDAY
    ),
]


@pytest.mark.parametrize(("cell", "options", "mesh"), CASES)
def test_losses_on_a_mesh_equal_one_device(cell, options, mesh, monkeypatch):
    monkeypatch.setattr("rnnlab.parallel.rules.FSDP_MIN_SIZE", 64)
    model = model_of(cell, **options)
    assert np.abs(losses(model, mesh) - losses(model)).max() <= 1e-5


def test_class_weights_on_a_mesh_equal_one_device():
    weights = {"class_weights": tuple(float(k) for k in range(1, VOCABULARY + 1))}
    of = model_of("mingru")
    one, mesh = (losses(of, m, updates=3, **weights) for m in (ONE, DATA))
    assert np.abs(mesh - one).max() <= 1e-6
    assert np.abs(one - losses(of, updates=3)).max() > 1e-4, "the weights must matter"


def parameter_bytes(model):
    return sum(x.nbytes for x in jax.tree.leaves(nnx.state(model, nnx.Param)))


def exchanged(model, mesh, *batches):
    run = training(model, mesh)
    batches = run.put(*(batches or [padded_batch(0)]))
    return collectives(run.step.lower(run.state, batches).compile().as_text())


def without_scalars(found):
    """Bytes by kind of the collectives, without those of up to 8 numbers."""
    large = [c for c in found if c.num_bytes > 4 * 8]
    return [(c.kind, c.num_bytes - 4 * c.shapes.count(())) for c in large]


@pytest.mark.parametrize("cell", ["mingru", "gru"])
def test_data_parallel_update_exchanges_each_gradient_once(cell):
    model = model_of(cell)
    found = without_scalars(exchanged(model, MeshConfig(data=4)))
    assert found == [("all-reduce", parameter_bytes(model))]


def test_accumulated_update_exchanges_each_gradient_once():
    model = model_of("mingru")
    found = exchanged(model, MeshConfig(data=4), padded_batch(0), padded_batch(1))
    assert without_scalars(found) == [("all-reduce", parameter_bytes(model))]
    assert not any(c.num_bytes > 4 for c in found if c.is_repeated)


def test_fsdp_update_gathers_and_scatters_divided_parameters(monkeypatch):
    monkeypatch.setattr("rnnlab.parallel.rules.FSDP_MIN_SIZE", 64)
    model, mesh = model_of("mingru"), MeshConfig(data=4, fsdp=True)
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    divided = sum(x.nbytes for x in leaves if x.size > 64)
    sums = {}
    for kind, num_bytes in without_scalars(exchanged(model, mesh)):
        sums[kind] = sums.get(kind, 0) + num_bytes
    whole = parameter_bytes(model) - divided
    assert sums == {"all-gather": divided, "reduce-scatter": divided // 4, "all-reduce": whole}


def test_cast_behind_a_broadcast_exchanges_more(monkeypatch):
    """Without a cast before it, autodiff sums what has the size of the activations."""
    monkeypatch.setattr(gradient, "enter", lambda x, spec, axes: x)
    monkeypatch.setattr(gradient, "reduce_gradients", lambda gradients, specs, axes: gradients)
    model, sizes = model_of("mingru"), []
    for broadcast in (norm.broadcast_like, lambda scale, x: jnp.broadcast_to(scale, x.shape)):
        monkeypatch.setattr(norm, "broadcast_like", broadcast)
        found = without_scalars(exchanged(model, MeshConfig(data=4)))
        sizes.append(sum(num_bytes for _, num_bytes in found))
    assert sizes[0] <= parameter_bytes(model) < 0.95 * sizes[1]


def test_update_that_is_nan_on_one_device_is_skipped_on_all():
    config = TrainConfig()
    model = ModelConfig("mingru", width=8, depth=1).build(2, in_features=3, rngs=nnx.Rngs(0))
    placement = Placement(DATA, nnx.state(model, nnx.Param))
    step = make_train_step(nnx.graphdef(model), "squared", config, None, placement)
    inputs = np.ones((1, EXAMPLES, LENGTH, 3), np.float32)
    inputs[0, -1, 0] = np.nan
    batches = Batch(inputs, np.zeros((1, EXAMPLES, LENGTH, 2), np.float32))
    batches = jax.device_put(batches, placement.batch(batches, stacked=True))
    state = initial_state(model, config, (), placement)
    before = jax.device_get(state.params)
    state, metrics = step(state, batches)
    assert not metrics["update_applied"]
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(state.params), strict=True):
        for shard in y.addressable_shards:
            np.testing.assert_array_equal(shard.data, x)


@pytest.mark.parametrize("cell", ["mingru", pytest.param("lstm", marks=pytest.mark.slow)])
def test_carried_states_and_accumulation_equal_one_device(cell):
    model, found = model_of(cell), []
    for mesh in (ONE, MeshConfig(data=4)):
        run = training(model, mesh, carry=model.initial_carry((EXAMPLES,)))
        state, values = run.state, []
        for n in range(3):
            state, metrics = run.step(state, run.put(padded_batch(2 * n), padded_batch(2 * n + 1)))
            values.append(float(metrics["loss"]))
        found.append((values, jax.device_get(state.carry)))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    for one, mesh in zip(*(jax.tree.leaves(carry) for _, carry in found), strict=True):
        np.testing.assert_allclose(mesh, one, atol=1e-5)


def test_state_and_its_update_under_fsdp_are_divided(monkeypatch):
    monkeypatch.setattr("rnnlab.parallel.rules.FSDP_MIN_SIZE", 64)
    run = training(model_of("mingru"), FSDP)
    state, _ = run.step(run.state, run.put(padded_batch(0)))
    moments = state.optimizer
    divided = [x for x in jax.tree.leaves((state.params, moments)) if x.size > 64]
    assert len(divided) >= 3 * 5
    assert all(x.addressable_shards[0].data.size == x.size // 8 for x in divided)
    assert jnp.isfinite(divided[0]).all()
