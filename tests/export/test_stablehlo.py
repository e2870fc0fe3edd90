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
from rnnlab.export import evaluation_copy, flatten_carry, forms_of, largest_error, stablehlo
from rnnlab.export.named_call import named_call

pytest.importorskip("flatbuffers")

from cases import MODELS, TOLERANCE, build

SIZES = ((1, 0), (3, 1), (2, 7), (1, 64), (3, 129))


def check(module, form, flags, sizes):
    """Asserts that one file equals the module at each batch size and length."""
    run = stablehlo.read(stablehlo.write(module, form, flags))
    assert largest_error(run, module, form, flags, sizes=sizes) <= TOLERANCE


@pytest.mark.parametrize("cell", ["lstm", "minlstm"])
def test_sequence_file_equals_the_model_at_unseen_sizes(cell):
    check(build(cell), "sequence", ("reset", "mask"), [(2, 0), (3, 7)])


def test_step_file_equals_the_model_at_unseen_batch_sizes():
    check(build("mingru+transformer"), "step", ("reset", "mask"), [(1, 1), (3, 1)])


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("reset", "mask")], ids="+".join)
@pytest.mark.parametrize("name", MODELS)
def test_files_of_all_models_equal_them_at_all_lengths(name, flags):
    module = evaluation_copy(MODELS[name]())
    for form in forms_of(module):
        check(module, form, flags, SIZES if form == "sequence" else SIZES[:2])


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
    module = build("mingru")
    carry = {
        name: np.asarray(x) + 0.5 for name, x in flatten_carry(module.initial_carry(2)).items()
    }
    arrays = {"inputs": np.array([[0, 1, 2], [4, 4, 3]], np.int32), **carry}
    content, given, results = (tmp_path / name for name in ("a.stablehlo", "in.npz", "out.npz"))
    content.write_bytes(stablehlo.write(module, "sequence"))
    np.savez(given, **arrays)
    command = [sys.executable, "-c", READER, content, given, results]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
    reference = jax.jit(named_call(module, "sequence"))(arrays)
    with np.load(results) as found:
        assert set(found) == set(reference)
        for name in reference:
            assert oracles.relative_error(found[name], reference[name]) <= TOLERANCE


def test_step_file_of_bidirectional_model_is_refused():
    with pytest.raises(ValueError, match="Bidirectional has no step"):
        stablehlo.write(build("gru", bidirectional=True), "step")


def test_file_of_a_cell_on_cudnn_is_refused():
    cell = LSTM(3, 4, rngs=nnx.Rngs(0), backend="cudnn")
    with pytest.raises(ValueError, match="got 'cudnn' in LSTM"):
        stablehlo.write(cell, "sequence")


def test_reading_with_an_array_of_another_shape_names_the_input():
    cell = MinGRU(3, 4, rngs=nnx.Rngs(0))
    run = stablehlo.read(stablehlo.write(cell, "step"))
    with pytest.raises(ValueError, match="carry\\.0"):
        run({"inputs": jnp.ones((2, 3)), "carry.0": jnp.ones((2, 5))})
