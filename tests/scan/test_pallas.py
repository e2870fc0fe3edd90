"""The kernels, interpreted on a CPU against the float64 loop, and lowered for GPU and TPU."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

# JAX simulates a GPU's memories and barriers, but does not export the option that asks for it.
from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

from rnnlab import MinGRU, MinLSTM, gated_scan, linear_scan
from rnnlab.cells.mingru import mingru_gates
from rnnlab.scan import resolve_backend
from rnnlab.scan.pallas import mosaic_gpu, mosaic_tpu, ops
from rnnlab.testing import TOLERANCE

GPU, TPU = "cuda", "tpu"
CALLS = {GPU: "mosaic_gpu", TPU: "tpu_custom_call"}
# Device, parts of time, length. Tiles are cut to two rows, so that there are more than stages, with
# and without a row left over, and none at all.
PLACES = [("gpu", 1, 13), ("gpu", 1, 1), ("gpu", 2, 25), ("tpu", 1, 12), ("tpu", 1, 25)]
PLACE = pytest.mark.parametrize("interpreted", PLACES, ids=str, indirect=True)
REVERSE = pytest.mark.parametrize("reverse", [False, True])


@pytest.fixture
def interpreted(monkeypatch, request):
    """`backend="pallas"` runs the kernel of a place on the CPU. Returns the length to use."""
    device, parts, length = request.param
    module = {"gpu": mosaic_gpu, "tpu": mosaic_tpu}[device]
    interpret = {"gpu": InterpretGPUParams(), "tpu": True}[device]
    run = partial(module.scan_kernel, interpret=interpret)
    kernel = ops.KernelBackend(run, module.BLOCK_FEATURES, lambda *shape: parts)
    monkeypatch.setattr(module, "TILE_STEPS", 2)
    monkeypatch.setattr(ops, "available_kernels", lambda dtype: {"cpu": kernel})
    jax.clear_caches()
    yield length
    jax.clear_caches()


def example(length, features=3, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 7)
    a = jax.nn.sigmoid(jax.random.normal(keys[0], (2, length, features))).astype(dtype)
    b, dh = (jax.random.normal(k, a.shape).astype(dtype) for k in keys[1:3])
    h0, init = (jax.random.normal(k, (2, features)) for k in keys[3:5])
    reset = jax.random.bernoulli(keys[5], 0.1, (2, length))
    mask = jax.random.bernoulli(keys[6], 0.8, (2, length))
    return a, b, h0, init, dh, reset, mask


def equal(results, wanted, dtype=jnp.float32):
    for x, ref in zip(results, wanted, strict=True):
        assert oracles.relative_error(x, ref) <= TOLERANCE[jnp.dtype(dtype)]


@PLACE
@REVERSE
def test_linear_scan_equals_the_loop(interpreted, reverse):
    a, b, h0, _, dh, reset, _ = example(interpreted)
    for flags in (None, reset):
        scan = partial(linear_scan, reset=flags, reverse=reverse, backend="pallas")
        h, pull = jax.vjp(scan, a, b, h0)
        wanted = oracles.linear_scan(a, b, h0, flags, reverse)
        gradients = oracles.linear_scan_gradients(a, b, h0, dh, flags, reverse)
        equal((h, *pull(dh)), (wanted, *gradients))


@pytest.mark.parametrize(
    ("cell", "interpreted"),
    [(MinGRU, PLACES[2]), (MinGRU, PLACES[3]), (MinLSTM, PLACES[0]), (MinLSTM, PLACES[4])],
    ids=str,
    indirect=["interpreted"],
)
def test_cells_equal_their_other_backend(interpreted, cell):
    # Gates, flags and a learned initial state, all inside the kernel, and all their gradients.
    from flax import nnx

    a, _, h0, _, dh, reset, mask = example(interpreted)

    def results(backend):
        options = {"carry_init": nnx.initializers.normal(), "backend": backend}
        graphdef, params = nnx.split(cell(3, 3, rngs=nnx.Rngs(0), **options))

        def outputs(params, h0, xs):
            model = nnx.merge(graphdef, params, copy=True)
            return model(h0, xs, reset=reset, mask=mask)

        found, pull = jax.vjp(outputs, params, h0, a)
        return jax.tree.leaves((found, pull((h0, dh))))

    for x, y in zip(results("pallas"), results("associative"), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("interpreted", [PLACES[0], PLACES[-1]], ids=str, indirect=True)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_16_bit_in_and_out(interpreted, dtype):
    a, b, h0, _, dh, reset, _ = example(interpreted, dtype=dtype)
    h, pull = jax.vjp(partial(linear_scan, reset=reset, backend="pallas"), a, b, h0)
    assert h.dtype == dtype
    gradients = oracles.linear_scan_gradients(a, b, h0, dh, reset)
    equal((h, *pull(dh)), (oracles.linear_scan(a, b, h0, reset), *gradients), dtype)


@pytest.mark.parametrize("interpreted", [PLACES[2], PLACES[-1]], ids=str, indirect=True)
def test_nan_does_not_pass_a_reset(interpreted):
    a, b, h0, _, dh, _, _ = example(interpreted)
    reset = jnp.zeros((2, interpreted), bool).at[:, jnp.array([3, 18])].set(True)
    scan = partial(linear_scan, reset=reset, backend="pallas")
    h, pull = jax.vjp(scan, a.at[:, 7].set(jnp.nan), b.at[:, 8].set(jnp.nan), h0)
    da, db, dh0 = pull(dh)
    assert jnp.isnan(h[:, 8:18]).all()
    outside = np.r_[:3, 18:interpreted]
    for x in (h, da, db):
        assert jnp.isfinite(x[:, outside]).all()
    assert jnp.isfinite(dh0).all()


# Not on the simulated GPU: its callbacks do not go through vmap.
@pytest.mark.parametrize("interpreted", [PLACES[3]], ids=str, indirect=True)
def test_under_vmap_and_differentiated_twice(interpreted):
    a, b, h0, *_ = example(interpreted)

    def loss(backend, a, b, h0):
        return jnp.sum(linear_scan(a, b, h0, backend=backend) ** 2)

    def twice(backend):
        def slope(a):
            return jnp.sum(jax.grad(partial(loss, backend))(a, b[0], h0[0]) ** 2)

        return jax.vmap(jax.grad(slope))(a)

    np.testing.assert_allclose(twice("pallas"), twice("sequential"), rtol=1e-4, atol=1e-4)


def test_time_is_split_where_blocks_are_few():
    assert mosaic_gpu.num_time_chunks(32, 4096, 1024) == 1
    assert mosaic_gpu.num_time_chunks(1, 65536, 512) == 32
    assert mosaic_gpu.num_time_chunks(1, 16, 512) == 1  # one tile
    for batch_size, length in ((1, 777), (3, 5000), (2, 16 * 97)):
        assert (
            length // mosaic_gpu.TILE_STEPS % mosaic_gpu.num_time_chunks(batch_size, length, 128)
            == 0
        )


def lowered(f, platform, *shapes):
    return jax.jit(f).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", [GPU, TPU])
def test_the_kernel_is_lowered(platform):
    # 2^32 numbers an array: every offset has to be 64-bit or a coordinate.
    large = jax.ShapeDtypeStruct((2, 16, 65536, 2048), jnp.float32)
    state = jax.ShapeDtypeStruct((2, 16, 2048), jnp.float32)

    def results(h0, a, b):
        h, pull = jax.vjp(partial(linear_scan, backend="pallas"), a, b, h0)
        return h, pull(h)

    def gated(h0, *pre):
        scan = partial(gated_scan, mingru_gates, backend="pallas")
        h, pull = jax.vjp(lambda h0, *pre: scan(pre, h0), h0, *pre)
        return h, pull(h)

    for f in (results, jax.vmap(results), gated):
        text = lowered(f, platform, state, large, large)
        assert text.count(f"@{CALLS[platform]}") == 2  # forward and backward, one kernel each
        assert "while" not in text
        assert "@mosaic" not in lowered(f, "rocm", state, large, large)


def test_other_backends_remain(monkeypatch):
    assert resolve_backend("pallas", "gpu") == resolve_backend("pallas", "tpu") == "pallas"
    assert resolve_backend("pallas", "cpu") == "sequential"
    assert resolve_backend("pallas", "gpu", "float64") == "associative"

    def lacking(name):
        raise ImportError(name)

    monkeypatch.setattr(ops.importlib, "import_module", lacking)
    assert resolve_backend("pallas", "gpu") == "associative"
    a = jnp.full((4, 2), 0.5)
    np.testing.assert_array_equal(
        linear_scan(a, a, backend="pallas"), linear_scan(a, a, backend="sequential")
    )


def test_an_older_gpu_is_not_given_the_kernel(monkeypatch):
    class Device:
        compute_capability = "8.0"

    monkeypatch.setattr(jax, "local_devices", lambda backend: [Device()])
    assert resolve_backend("pallas", "gpu") == "associative"
