"""The kernels, interpreted on a CPU against the float64 loop, and lowered for GPU and TPU.

`experiments/studies/gpu.py` runs them on a GPU. Tests on the simulated GPU are `slow`.
"""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

# JAX simulates a GPU's memories and barriers, but does not export the option that asks for it.
from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

from rnnlab import MinGRU, MinLSTM, gated_scan, linear_scan
from rnnlab.cells.mingru import MinGRUCoefficients
from rnnlab.scan import resolve_backend
from rnnlab.scan.pallas import mosaic_gpu, mosaic_tpu, ops
from rnnlab.testing import TOLERANCE

SLOW = pytest.mark.slow
GPU, TPU = "cuda", "tpu"
CALLS = {GPU: "mosaic_gpu", TPU: "tpu_custom_call"}
# Device, chunks of time, length. Tiles are cut to two time steps, so that there are more than
# stages, with and without a step left over, and none at all.
GPU_REST, GPU_STEP, GPU_CHUNKS = ("gpu", 1, 13), ("gpu", 1, 1), ("gpu", 2, 25)
TPU_WHOLE, TPU_REST = ("tpu", 1, 12), ("tpu", 1, 25)
REVERSE = pytest.mark.parametrize("reverse", [False, True])


def interpreted_on(*everyday, slow=()):
    """Parametrizes the fixture `interpreted` by devices, some of them only in `-m slow`."""
    values = [*everyday, *(pytest.param(x, marks=SLOW) for x in slow)]
    return pytest.mark.parametrize("interpreted", values, ids=str, indirect=True)


@pytest.fixture
def interpreted(monkeypatch, request):
    """Makes `backend="pallas"` run a device's kernel on the CPU. Returns the length to use."""
    device, chunks, length = request.param
    module = {"gpu": mosaic_gpu, "tpu": mosaic_tpu}[device]
    interpret = {"gpu": InterpretGPUParams(), "tpu": True}[device]
    kernel = partial(module.scan_kernel, interpret=interpret)
    backend = ops.KernelBackend(kernel, module.BLOCK_FEATURES, lambda *shape: chunks)
    monkeypatch.setattr(module, "TILE_STEPS", 2)
    monkeypatch.setattr(ops, "available_kernels", lambda dtype: {"cpu": backend})
    jax.clear_caches()
    yield length
    jax.clear_caches()


def example(length, features=3, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 7)
    a = jax.nn.sigmoid(jax.random.normal(keys[0], (2, length, features))).astype(dtype)
    b, dh = (jax.random.normal(k, a.shape).astype(dtype) for k in keys[1:3])
    h0, reset_state = (jax.random.normal(k, (2, features)) for k in keys[3:5])
    reset = jax.random.bernoulli(keys[5], 0.1, (2, length))
    mask = jax.random.bernoulli(keys[6], 0.8, (2, length))
    return a, b, h0, reset_state, dh, reset, mask


def check(results, expected, dtype=jnp.float32):
    for x, ref in zip(results, expected, strict=True):
        assert oracles.relative_error(x, ref) <= TOLERANCE[jnp.dtype(dtype)]


@interpreted_on(TPU_REST, slow=(GPU_REST, GPU_STEP, GPU_CHUNKS, TPU_WHOLE))
@REVERSE
def test_linear_scan_kernel_equals_the_loop(interpreted, reverse):
    a, b, h0, _, dh, reset, _ = example(interpreted)
    for flags in (None, reset):
        scan = partial(linear_scan, reset=flags, reverse=reverse, backend="pallas")
        h, pull = jax.vjp(scan, a, b, h0)
        expected = oracles.linear_scan(a, b, h0, flags, reverse)
        gradients = oracles.linear_scan_gradients(a, b, h0, dh, flags, reverse)
        check((h, *pull(dh)), (expected, *gradients))


def coefficients(update, candidate, slope, scale):
    update = slope * update
    return jax.nn.sigmoid(-update), jax.nn.sigmoid(update) * scale * jnp.tanh(candidate)


@interpreted_on(TPU_REST, slow=(GPU_REST, GPU_STEP, GPU_CHUNKS, TPU_WHOLE))
@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=SLOW)])
def test_gated_scan_kernel_with_params_equals_the_associative_backend(interpreted, reverse):
    a, b, h0, reset_state, dh, reset, mask = example(interpreted)
    params = tuple(jax.random.normal(k, (3,)) for k in jax.random.split(jax.random.key(1), 2))
    flags = {"reset": reset, "mask": mask, "reverse": reverse}

    def results(backend):
        def scan(preactivations, params, h0, reset_state):
            return gated_scan(
                coefficients,
                preactivations,
                h0,
                params=params,
                reset_state=reset_state,
                **flags,
                backend=backend,
            )

        found, pull = jax.vjp(scan, (a, b), params, h0, reset_state)
        return jax.tree.leaves((found, pull((dh, h0))))

    for x, y in zip(results("pallas"), results("associative"), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=4e-6)


@pytest.mark.parametrize(
    ("cell", "interpreted"),
    [
        pytest.param(MinGRU, GPU_CHUNKS, marks=SLOW),
        pytest.param(MinGRU, TPU_WHOLE, marks=SLOW),
        pytest.param(MinLSTM, GPU_REST, marks=SLOW),
        (MinLSTM, TPU_REST),
    ],
    ids=str,
    indirect=["interpreted"],
)
def test_cell_on_kernels_equals_it_on_the_associative_backend(interpreted, cell):
    # Gates, flags and a learned initial state, all inside the kernel, and all their gradients.
    from flax import nnx

    a, _, h0, _, dh, reset, mask = example(interpreted)

    def results(backend):
        options = {"learn_initial_state": True, "backend": backend}
        graphdef, params = nnx.split(cell(3, 3, rngs=nnx.Rngs(0), **options))

        def outputs(params, h0, xs):
            model = nnx.merge(graphdef, params, copy=True)
            return model(h0, xs, reset=reset, mask=mask)

        found, pull = jax.vjp(outputs, params, h0, a)
        return jax.tree.leaves((found, pull((h0, dh))))

    for x, y in zip(results("pallas"), results("associative"), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6)


@interpreted_on(TPU_REST, slow=(GPU_REST,))
@pytest.mark.parametrize("dtype", [pytest.param(jnp.float16, marks=SLOW), jnp.bfloat16])
def test_linear_scan_kernel_in_16_bits_equals_the_loop(interpreted, dtype):
    a, b, h0, _, dh, reset, _ = example(interpreted, dtype=dtype)
    h, pull = jax.vjp(partial(linear_scan, reset=reset, backend="pallas"), a, b, h0)
    assert h.dtype == dtype
    gradients = oracles.linear_scan_gradients(a, b, h0, dh, reset)
    check((h, *pull(dh)), (oracles.linear_scan(a, b, h0, reset), *gradients), dtype)


@interpreted_on(TPU_REST, slow=(GPU_CHUNKS,))
def test_linear_scan_kernel_with_nan_before_a_reset_keeps_it_there(interpreted):
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


# Not on the simulated GPU: its callbacks do not support vmap.
@interpreted_on(TPU_WHOLE)
def test_linear_scan_kernel_under_vmap_has_the_same_second_derivatives(interpreted):
    a, b, h0, *_ = example(interpreted)

    def loss(backend, a, b, h0):
        return jnp.sum(linear_scan(a, b, h0, backend=backend) ** 2)

    def twice(backend):
        def slope(a):
            return jnp.sum(jax.grad(partial(loss, backend))(a, b[0], h0[0]) ** 2)

        return jax.vmap(jax.grad(slope))(a)

    np.testing.assert_allclose(twice("pallas"), twice("sequential"), rtol=1e-4, atol=1e-4)


def test_num_time_chunks_with_few_thread_blocks_splits_time():
    assert mosaic_gpu.num_time_chunks(4, 4096, 1024) == 1
    assert mosaic_gpu.num_time_chunks(1, 65536, 512) == 32
    assert mosaic_gpu.num_time_chunks(1, 16, 512) == 1  # one tile
    for batch_size, length in ((1, 777), (3, 5000), (2, 16 * 97)):
        chunks = mosaic_gpu.num_time_chunks(batch_size, length, 128)
        assert length // mosaic_gpu.TILE_STEPS % chunks == 0


def lowered(f, platform, *shapes):
    return jax.jit(f).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", [GPU, TPU])
def test_scans_lowered_for_a_device_are_one_kernel_per_pass(platform):
    # 2^32 numbers per array: every offset has to be 64-bit or a coordinate.
    large = jax.ShapeDtypeStruct((2, 16, 65536, 2048), jnp.float32)
    state = jax.ShapeDtypeStruct((2, 16, 2048), jnp.float32)
    features = jax.ShapeDtypeStruct((2048,), jnp.float32)

    def results(h0, a, b):
        h, pull = jax.vjp(partial(linear_scan, backend="pallas"), a, b, h0)
        return h, pull(h)

    def gated(h0, *preactivations):
        scan = partial(gated_scan, MinGRUCoefficients(), backend="pallas")
        h, pull = jax.vjp(lambda h0, *xs: scan(xs, h0), h0, *preactivations)
        return h, pull(h)

    def gated_with_params(h0, *operands):
        def scan(h0, *operands):
            preactivations, params = operands[:2], operands[2:]
            return gated_scan(coefficients, preactivations, h0, params=params, backend="pallas")

        h, pull = jax.vjp(scan, h0, *operands)
        return h, pull(h)

    for f, params in ((results, 0), (jax.vmap(results), 0), (gated, 0), (gated_with_params, 2)):
        operands = state, large, large, *[features] * params
        text = lowered(f, platform, *operands)
        assert text.count(f"@{CALLS[platform]}") == 2  # forward and backward, one kernel each
        assert "while" not in text
        assert "@mosaic" not in lowered(f, "rocm", *operands)


def test_pallas_without_a_kernel_falls_back(monkeypatch):
    assert resolve_backend("pallas", "gpu") == resolve_backend("pallas", "tpu") == "pallas"
    assert resolve_backend("pallas", "cpu") == "sequential"
    assert resolve_backend("pallas", "gpu", "float64") == "associative"

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(ops.importlib, "import_module", missing)
    assert resolve_backend("pallas", "gpu") == "associative"
    a = jnp.full((4, 2), 0.5)
    np.testing.assert_array_equal(
        linear_scan(a, a, backend="pallas"), linear_scan(a, a, backend="sequential")
    )


def resolved_with_gpus(monkeypatch, *capabilities):
    """What "auto" and "pallas" are on GPUs of these compute capabilities."""
    gpus = [SimpleNamespace(compute_capability=c) for c in capabilities]
    monkeypatch.setattr(jax, "devices", lambda platform: gpus)
    return resolve_backend("auto", "gpu"), resolve_backend("pallas", "gpu")


def test_pallas_on_an_older_gpu_falls_back(monkeypatch):
    assert resolved_with_gpus(monkeypatch, "8.0") == ("associative", "associative")


def test_auto_uses_the_kernel_on_a_single_gpu(monkeypatch):
    assert resolved_with_gpus(monkeypatch, "9.0") == ("pallas", "pallas")
    assert resolve_backend("auto", "tpu") == "associative"
    assert resolve_backend("auto", "cpu") == "sequential"
    assert resolve_backend("auto", "gpu", "float64") == "associative"
    assert resolve_backend("auto", "gpu", time_invariant=True) == "associative"
    assert resolve_backend("auto", "gpu", features=64) == "associative"
    assert resolve_backend("pallas", "gpu", features=64) == "pallas"
    # XLA cannot partition a kernel over devices; and a machine without a GPU may lower for any.
    assert resolved_with_gpus(monkeypatch, "9.0", "9.0") == ("associative", "pallas")
    assert resolved_with_gpus(monkeypatch) == ("associative", "pallas")


def test_auto_lowered_on_a_machine_with_one_gpu_is_the_kernel(monkeypatch):
    a = jax.ShapeDtypeStruct((2, 64, 128), jnp.float32)
    assert "@mosaic_gpu" not in lowered(linear_scan, GPU, a, a)
    jax.clear_caches()
    monkeypatch.setattr(ops, "_compute_capabilities", lambda: [9.0])
    assert "@mosaic_gpu" in lowered(linear_scan, GPU, a, a)
    assert "@mosaic_gpu" not in lowered(linear_scan, "rocm", a, a)
    jax.clear_caches()
