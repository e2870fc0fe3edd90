"""Saving a module and loading it: round trips, a new process, corrupt files, unsuitable modules."""

import contextlib
import json
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnnlab
from rnnlab.errors import CheckpointError, CorruptCheckpointError, InsufficientResourcesError
from rnnlab.layers import RunningMean
from rnnlab.layers.tcn import TemporalBlock
from rnnlab.models import rebuild, saving
from rnnlab.recurrent import Recurrent


def block(**options):
    sizes = {"expansion": 3, "conv_kernel_size": 4, "mlp_expansion": 2}
    return rnnlab.Block(4, rnnlab.MinGRU, rngs=nnx.Rngs(0), **sizes, **options)


def model(**settings):
    config = rnnlab.ModelConfig(width=8, depth=2, dropout=0.1).override(settings)
    return config.build(7, vocab_size=7, rngs=nnx.Rngs(0))


MODULES = {
    **{name: lambda cell=cell: cell(3, 4, rngs=nnx.Rngs(0)) for name, cell in rnnlab.CELLS.items()},
    "signed": lambda: rnnlab.MinGRU(
        3, 4, rngs=nnx.Rngs(0), decay_range=(-1, 1), candidate="tanh", learn_initial_state=True
    ),
    "bfloat16": lambda: rnnlab.GRU(
        3, 4, rngs=nnx.Rngs(0), reset_after=False, param_dtype=jnp.bfloat16
    ),
    "mean": lambda: RunningMean(3),
    "temporal block": lambda: TemporalBlock(4, rngs=nnx.Rngs(0), dilation=2),
    "block": lambda: block(dropout=0.1, dtype=jnp.bfloat16),
    "stack": lambda: rnnlab.stack_cells(
        "minlstm", 3, 4, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0), forget_bias=3.0
    ),
    "stream": lambda: rnnlab.Dropout(4, 0.5, rngs=nnx.Rngs(dropout=1)),
    "output only": lambda: rnnlab.OutputOnly(rnnlab.NNXCell(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)))),
    "sequential": lambda: nnx.Sequential(
        rnnlab.OutputOnly(rnnlab.GRU(3, 4, rngs=nnx.Rngs(0))), nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    ),
    "model": lambda: model(readout="mean", bidirectional=True, dtype="bfloat16"),
    "attention": lambda: model(readout="attention", depth=1),
    "hybrid": lambda: model(
        cell="lstm+tcn+transformer+mamba", depth=4, tie_embeddings=True, heads=2
    ),
}


def assert_equal(loaded, saved):
    assert nnx.graphdef(loaded) == nnx.graphdef(saved)
    for one, other in zip(*(jax.tree.leaves(nnx.state(m)) for m in (loaded, saved)), strict=True):
        assert one.dtype == other.dtype
        assert (one == other).all()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("quick_compile", "implicit_promotion")
def test_loaded_module_equals_the_saved_one(name, tmp_path):
    module = MODULES[name]()
    rnnlab.save(tmp_path / "module.npz", module)
    loaded = rnnlab.load(str(tmp_path / "module.npz"))
    assert_equal(loaded, module)
    rnnlab.save(tmp_path / "again.npz", loaded)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "module.npz").read_bytes()


@pytest.mark.parametrize("mode", [None, "train", "eval"])
def test_mode_of_a_module_is_restored(mode, tmp_path):
    module = rnnlab.Stack([rnnlab.Dropout(4, 0.5)])
    if mode is not None:
        getattr(module, mode)()
    rnnlab.save(tmp_path / "module.npz", module)
    deterministic = rnnlab.load(tmp_path / "module.npz").layers[0].deterministic
    assert deterministic == {None: None, "train": False, "eval": True}[mode]


def test_numpy_reads_the_arrays_by_name(tmp_path):
    stack = rnnlab.Stack([rnnlab.MinGRU(3, 4, rngs=nnx.Rngs(0))])
    rnnlab.save(tmp_path / "stack.npz", stack)
    arrays = np.load(tmp_path / "stack.npz", allow_pickle=False)
    np.testing.assert_array_equal(
        arrays["layers.0.update_kernel"], stack.layers[0].update_kernel[...]
    )


CELL = """
import jax.numpy as jnp
from flax import nnx
from rnnlab.recurrent import Recurrent

ONE = float(jnp.ones(()))  # an error where JAX traces

class Leaky(Recurrent):
    def __init__(self, in_features, features, *, rngs, rate=0.5):
        self.in_features, self.features, self.rate = in_features, features, rate
        self.project = nnx.Linear(in_features, features, rngs=rngs)

    def initial_carry(self, batch_shape=()):
        return jnp.zeros((*batch_shape, self.features))

    def update(self, carry, x):
        carry = self.rate * carry + self.project(x)
        return carry, carry
"""
SAVE = """
if __name__ == "__main__":
    import rnnlab
    cell = Leaky(3, 4, rngs=nnx.Rngs(0), rate=0.25)
    rnnlab.save("leaky.npz", rnnlab.Stack([cell]))
"""
LOAD = """
import rnnlab
cell = rnnlab.load("leaky.npz").layers[0]
print(type(cell).__name__, cell.rate, cell.project.kernel.shape)
"""


def test_users_cell_is_loaded_in_a_new_process_where_its_file_is_found(tmp_path):
    """Saved by its script, loaded from there, from another folder, and without its file."""
    script, elsewhere = tmp_path / "leaky.py", tmp_path / "elsewhere"
    script.write_text(CELL + SAVE, encoding="utf-8")
    elsewhere.mkdir()

    def run(arguments, cwd):
        return subprocess.run(
            [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
        )

    saved = run([script.name], tmp_path)
    assert saved.returncode == 0, saved.stderr
    assert run(["-c", LOAD], tmp_path).stdout == "Leaky 0.25 (3, 4)\n"
    for file in (script, tmp_path / "leaky.npz"):
        file.rename(elsewhere / file.name)
    path = "'elsewhere/leaky.npz'"
    code = LOAD.replace('"leaky.npz"', path)
    assert run(["-c", code], tmp_path).stdout == "Leaky 0.25 (3, 4)\n"
    (elsewhere / script.name).unlink()
    last = run(["-c", code], tmp_path).stderr.strip().splitlines()[-1]
    assert "leaky.py is not a file; it must be the code of a saved module" in last


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "cell.npz"
    rnnlab.save(path, rnnlab.VanillaRNN(1, 1, rngs=nnx.Rngs(0)))
    return path


def test_every_flipped_byte_is_reported_or_harmless(saved):
    content, arrays = saving.read(saved)
    data = saved.read_bytes()
    harmless = 0
    for k in range(len(data)):
        saved.write_bytes(data[:k] + bytes([data[k] ^ 0x55]) + data[k + 1 :])
        with contextlib.suppress(CheckpointError):
            found = saving.read(saved)
            # A date, or another field of the archive that nothing depends on.
            harmless += 1
            assert found[0] == content
            assert all((found[1][name] == x).all() for name, x in arrays.items())
    assert harmless < len(data) / 4


@pytest.mark.parametrize("size", [0, 10, 500, -1])
def test_cut_file_is_refused(saved, size):
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(CorruptCheckpointError, match="cannot be read"):
        rnnlab.load(saved)


def rewrite(path, change):
    """Changes the description of a saved module, with a valid digest."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(files[saving.DESCRIPTION])
    change(content)
    text = json.dumps(content).encode()
    files |= {saving.DESCRIPTION: text, saving.DIGEST: saving.digest(text).encode()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format_version=2), "must have format version <= 1, got 2; update"),
        (lambda c: c["module"]["arguments"].update(features=2), "array 'bias' of VanillaRNN must"),
        (lambda c: c["module"]["arguments"].update(size=2), "must accept its saved arguments"),
        (lambda c: c["module"].update({"class": "rnnlab:Nothing"}), "must be a class of flax.nnx"),
        (lambda c: c["module"].update({"class": "os:system"}), "must be a class of flax.nnx"),
        (lambda c: c["module"].update({"class": "no.such:Cell"}), "needs no.such:Cell"),
        (lambda c: c["module"].update({"class": 3}), "a class must be MODULE:CLASS"),
        (lambda c: c.update(module=[]), "a module must have a class and arguments"),
        (lambda c: c["arrays"].pop("bias"), "the list of arrays differs"),
    ],
)
def test_changed_description_is_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(ValueError, match=message):
        rnnlab.load(saved)


def test_path_that_is_not_a_saved_module_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    for path, message in (
        (tmp_path / "none.npz", "got no file"),
        (tmp_path, "got a directory"),
        (tmp_path / "other.npz", "must be a file written by rnnlab.save, got another one"),
    ):
        with pytest.raises(CheckpointError, match=message):
            saving.load_model(path)


def test_failed_save_keeps_the_previous_file(saved, tmp_path):
    before = saved.read_bytes()
    with pytest.raises(ValueError, match="gate_fn must be a number"):
        rnnlab.save(saved, rnnlab.NNXCell(nnx.GRUCell(1, 1, rngs=nnx.Rngs(0), gate_fn=jnp.tanh)))
    assert saved.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [saved.name]
    with pytest.raises(InsufficientResourcesError, match="could not be written"):
        rnnlab.save(saved / "cell.npz", rnnlab.Dropout(3, 0.5))


def test_save_makes_missing_directories_and_explains_wrong_arguments(tmp_path):
    module, path = rnnlab.Dropout(3, 0.5), tmp_path / "new" / "folder" / "dropout.npz"
    rnnlab.save(path, module)
    assert rnnlab.load(path).rate == 0.5
    with pytest.raises(ValueError, match=r"got a Dropout; write rnnlab.save\(path, module\)"):
        rnnlab.save(module, path)
    with pytest.raises(ValueError, match=r"module must be an nnx.Module, got a ndarray; save arr"):
        rnnlab.save(path, np.ones(3))
    with pytest.raises(InsufficientResourcesError, match="add a file name"):
        rnnlab.save(tmp_path, module)


class Hidden(Recurrent):
    """A cell that does not keep its arguments."""

    def __init__(self, in_features, features, *, rate=0.5):
        self.in_features, self.features, self._rate = in_features, features, rate


def test_module_that_cannot_be_built_again_is_refused(tmp_path):
    path = tmp_path / "module.npz"
    rebuild.describe(Hidden(1, 2))
    with pytest.raises(ValueError, match=r"its _rate is 0.25 and would be 0.5; keep each argument"):
        rnnlab.save(path, Hidden(1, 2, rate=0.25))
    stack = rnnlab.Stack([rnnlab.Dropout(3, 0.5)])
    stack.layers[0].features = 4
    with pytest.raises(ValueError, match="must follow from its constructor's arguments"):
        rnnlab.save(path, stack)
    assert not path.exists()
