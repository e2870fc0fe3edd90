"""LiteRT files against the modules that they were exported from; they need the extra `litert`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import MinGRU, ModelConfig
from rnnlab.bench.export import ExportBenchmark
from rnnlab.export import largest_error
from rnnlab.registry import REGISTRY

pytest.importorskip("tensorflow")
interpreter = pytest.importorskip("ai_edge_litert.interpreter")

from rnnlab.export import litert  # noqa: E402

LIMIT = 5e-6
FLAGS = ("reset", "mask")


def build(cell, width=8, **settings):
    config = ModelConfig(cell, width=width, depth=len(cell.split("+")), **settings)
    model = config.build(5, vocab_size=5, rngs=nnx.Rngs(0))
    model.eval()
    return model


@pytest.mark.parametrize("form", ["step", "sequence"])
def test_file_equals_the_model(form):
    model = build("mingru+gru", readout="attention")
    run = litert.read(litert.write(model, form, FLAGS, batch_size=2, length=7))
    assert largest_error(run, model, form, FLAGS, sizes=[(2, 7)]) <= LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("form", ["step", "sequence"])
@pytest.mark.parametrize("cell", REGISTRY)
def test_file_of_every_cell_equals_the_model(cell, form):
    model = build(cell)
    content = litert.write(model, form, FLAGS)
    assert largest_error(litert.read(content), model, form, FLAGS, sizes=[(1, 32)]) <= LIMIT
    operators = interpreter.Interpreter(model_content=content)._get_ops_details()
    assert not [op for op in operators if op["op_name"].startswith(("Flex", "CUSTOM"))]


def test_int8_file_is_smaller_and_close_to_the_model():
    model = build("mingru", width=128)
    float32, int8 = (litert.write(model, "step", int8=flag) for flag in (False, True))
    assert len(int8) < 0.32 * len(float32)
    assert 1e-4 < largest_error(litert.read(int8), model, "step", sizes=[(1, 1)]) < 0.1


def test_sequence_in_pieces_equals_one_sequence():
    cell = MinGRU(3, 4, rngs=nnx.Rngs(0))
    run = litert.read(litert.write(cell, "sequence", ["mask"], length=4))
    xs = np.random.default_rng(0).normal(size=(1, 8, 3)).astype(np.float32)
    carry, outputs = {"carry.0": np.zeros((1, 4), np.float32)}, []
    for piece in (slice(0, 4), slice(4, 8)):
        mask = np.arange(8)[None, piece] < 6
        results = run({"inputs": xs[:, piece], "mask": mask, **carry})
        carry = {"carry.0": results["next_carry.0"]}
        outputs.append(results["outputs"])
    last, ys = cell(jnp.asarray(xs[:, :6]))
    np.testing.assert_allclose(np.concatenate(outputs, 1)[:, :6], ys, atol=1e-6)
    np.testing.assert_allclose(carry["carry.0"], last, atol=1e-6)


def test_benchmark_times_litert_files_next_to_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    sizes = {"width": 8, "depth": 1, "steps": 3, "threads": (1,), "repeats": 2}
    bench = ExportBenchmark(litert=True, out=tmp_path, **sizes)
    rows = list(bench.measure(("mingru", 2), jax.devices()[0], lambda message: None))
    found = {row["implementation"]: row for row in rows}
    assert found["LiteRT"]["difference"] <= LIMIT
    assert found["LiteRT, int8"]["difference"] <= 0.1
    assert found["LiteRT, int8"]["file_bytes"] < found["LiteRT"]["file_bytes"]
