"""StableHLO files against the modules that they were exported from."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from flax import nnx

from rnnlab import LSTM, MinGRU
from rnnlab.export import flatten_carry, input_fields, stablehlo, unflatten_carry
from rnnlab.models import ModelConfig
from rnnlab.registry import REGISTRY

pytest.importorskip("flatbuffers")

LIMIT = 5e-6
LENGTHS = (0, 1, 7, 64, 129)
VARIANTS = [
    ("mingru", {"readout": "mean"}, {}),
    ("mingru", {"readout": "attention"}, {}),
    ("mingru", {"tie_embeddings": True, "mlp_expansion": None, "conv_kernel_size": None}, {}),
    ("mingru", {}, {"candidate": "tanh", "decay_range": (-1, 1), "learn_initial_state": True}),
    ("mingru", {}, {"gap_decay": True}),
    ("minlstm", {}, {"normalize": False, "forget_bias": 1.0}),
    ("gru", {"bidirectional": True}, {"reset_after": False}),
    ("minlstm", {"bidirectional": True}, {}),
    ("lstm", {}, {"gap_decay": True}),
    ("mingru+gru+transformer", {"depth": 3}, {}),
]


def build(cell, settings=(), options=(), **sizes):
    settings = {"width": 8, "depth": 2, **dict(settings)}
    config = ModelConfig(cell, options=dict(options), **settings)
    sizes = sizes or {"vocab_size": 5}
    model = config.build(5, rngs=nnx.Rngs(0), **sizes)
    model.eval()
    return model


def arguments(module, form, flags, batch, length, seed=0):
    """Random inputs of a file by name: a carry that is not initial, resets, right padding."""
    draw = np.random.default_rng(seed)
    sizes = {"batch": batch, "time": length}
    carry = flatten_carry(module.initial_carry(batch))
    arrays = {}
    for field in input_fields(module, form, flags):
        shape = tuple(sizes.get(size, size) for size in field.shape)
        if field.name in carry:
            noise = draw.uniform(0.1, 0.9, shape).astype(field.dtype)
            arrays[field.name] = np.asarray(carry[field.name]) + noise
        elif field.name == "mask" and form == "sequence":
            ends = draw.integers(0, length + 1, (batch, 1))
            arrays["mask"] = np.arange(length)[None] < ends
        elif field.dtype == "bool":
            arrays[field.name] = draw.random(shape) < 0.2
        elif field.dtype == "int32":
            arrays[field.name] = draw.integers(0, 5, shape, np.int32)
        else:
            arrays[field.name] = draw.uniform(0, 2, shape).astype(np.float32)
    return arrays


def expected(module, form, arrays):
    """The results of the module itself, by the names of a file."""
    options = {name: arrays[name] for name in ("reset", "mask", "gaps") if name in arrays}
    graphdef, state = nnx.split(module)

    @jax.jit
    def call(state, carry, inputs, options):
        copied = nnx.merge(graphdef, state, copy=True)
        return (copied.step if form == "step" else copied)(carry, inputs, **options)

    carry, ys = call(state, unflatten_carry(module, arrays), arrays["inputs"], options)
    return {"outputs": ys, **flatten_carry(carry, "next_carry")}


def check(module, form, flags, sizes):
    """Asserts that one file equals the module at each batch size and length."""
    run = stablehlo.read(stablehlo.write(module, form, flags))
    for batch, length in sizes:
        arrays = arguments(module, form, flags, batch, length)
        found, reference = run(arrays), expected(module, form, arrays)
        assert found.keys() == reference.keys()
        for name, ref in reference.items():
            error = oracles.relative_error(found[name], ref)
            assert error <= LIMIT, f"{name} of {form} at {batch, length}: {error:.1e}"


@pytest.mark.parametrize("cell", ["lstm", "minlstm"])
def test_sequence_file_equals_the_model_at_unseen_sizes(cell):
    check(build(cell, {"depth": 1}), "sequence", ("reset", "mask"), [(2, 0), (3, 7)])


def test_step_file_equals_the_model_at_unseen_batch_sizes():
    check(build("mingru+transformer"), "step", ("reset", "mask"), [(1, 1), (3, 1)])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["step", "sequence"])
@pytest.mark.parametrize("cell", REGISTRY)
def test_file_of_every_cell_equals_the_model(cell, form):
    sizes = zip((1, 3, 2, 1, 3), LENGTHS if form == "sequence" else (1, 1), strict=False)
    check(build(cell), form, ("reset", "mask"), sizes)


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "settings", "options"), VARIANTS)
def test_file_of_every_option_equals_the_model(cell, settings, options):
    module = build(cell, settings, options)
    for flags in ((), ("reset", "mask")):
        check(module, "sequence", flags, [(3, 0), (2, 7), (1, 129)])
        if not settings.get("bidirectional"):
            check(module, "step", flags, [(3, 1)])


@pytest.mark.slow
def test_file_of_values_with_input_decay_equals_the_model():
    module = build("minlstm", {"input_decay": True}, in_features=6, num_variables=2)
    check(module, "sequence", ("mask",), [(3, 7)])
    check(module, "step", ("mask",), [(3, 1)])


READER = """
import sys, importlib.abc
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("rnnlab", "flax", "optax"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import json, jax, numpy as np
run = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read())).call
arrays = dict(np.load(sys.argv[2]))
np.savez(sys.argv[3], **run(arrays))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} & {"rnnlab", "flax"})))
"""


def test_file_runs_in_a_process_without_rnnlab_and_flax(tmp_path):
    module = build("mingru", {"depth": 1})
    arrays = arguments(module, "sequence", (), 2, 7)
    content, given, results = (tmp_path / name for name in ("a.stablehlo", "in.npz", "out.npz"))
    content.write_bytes(stablehlo.write(module, "sequence"))
    np.savez(given, **arrays)
    command = [sys.executable, "-c", READER, content, given, results]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
    with np.load(results) as found:
        for name, ref in expected(module, "sequence", arrays).items():
            assert oracles.relative_error(found[name], ref) <= LIMIT


def test_step_file_of_bidirectional_model_is_refused():
    with pytest.raises(ValueError, match="Bidirectional has no step"):
        stablehlo.write(build("gru", {"bidirectional": True}), "step")


def test_file_of_a_cell_on_cudnn_is_refused():
    cell = LSTM(3, 4, rngs=nnx.Rngs(0), backend="cudnn")
    with pytest.raises(ValueError, match="got 'cudnn' in LSTM"):
        stablehlo.write(cell, "sequence")


def test_reading_with_an_array_of_another_shape_names_the_input():
    cell = MinGRU(3, 4, rngs=nnx.Rngs(0))
    run = stablehlo.read(stablehlo.write(cell, "step"))
    with pytest.raises(ValueError, match="carry\\.0"):
        run({"inputs": jnp.ones((2, 3)), "carry.0": jnp.ones((2, 5))})
