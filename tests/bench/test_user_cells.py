"""A user's cells, from a file: in the contract's checks and in the speedup benchmark."""

import dataclasses

import pytest

from rnnlab import records
from rnnlab.bench import speedup_table
from rnnlab.bench.speedup import variants_of
from rnnlab.cli import main
from rnnlab.registry import REGISTRY
from rnnlab.testing import check_cell

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = ["--lengths", "4", "--batch-size", "2", "--width", "4", "--repeats", "1"]
SOURCE = '''
import jax.numpy as jnp
from flax import nnx

from rnnlab import MinGRU


class Mine(nnx.Module):
    """A minGRU inside, without its options."""

    def __init__(self, in_features, features, *, rngs):
        self.in_features, self.features = in_features, features
        self.inner = MinGRU(in_features, features, rngs=rngs)

    def initial_carry(self, batch_shape):
        return self.inner.initial_carry(batch_shape)

    def __call__(self, carry, xs, *, reset=None, mask=None):
        return self.inner(carry, xs, reset=reset, mask=mask)

    def step(self, carry, x, *, reset=None, mask=None):
        return self.inner.step(carry, x, reset=reset, mask=mask)


class InModels(Mine):
    """A cell that models can build: they pass dtypes."""

    def __init__(self, in_features, features, *, rngs, dtype=None, param_dtype=None):
        super().__init__(in_features, features, rngs=rngs)


class Careless(Mine):
    """Ignores the mask."""

    def __call__(self, carry, xs, *, reset=None, mask=None):
        return self.inner(carry, xs, reset=reset)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_speedup_of_a_cell_from_a_file_is_measured_and_drawn(file, tmp_path, capsys):
    cells = [f"{file}:Mine", "mingru"]
    assert main.main(["speedup", "--cells", *cells, *SMALL, "--out", str(tmp_path)]) == 0
    measured = list(records.read(tmp_path / "rows.jsonl"))
    own = [r for r in measured if r["implementation"] == speedup_table.USER]
    assert [(r["cell"], r["pass"]) for r in own] == [("Mine", "train"), ("Mine", "forward")]
    assert all(speedup_table.minimal_reference_seconds(measured, r) for r in own)
    assert "Mine" in capsys.readouterr().out
    assert (tmp_path / "figure.png").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{folder}/none.py:Mine", "none.py is not a file"),
        ("{folder}/mine.py:Yours", "must define a class 'Yours'"),
        ("mingruu", "cell 'mingruu' is unknown; did you mean 'mingru'?"),
    ],
)
def test_speedup_of_an_unknown_cell_exits_2(name, message, file, tmp_path, capsys):
    arguments = ["speedup", "--cells", name.format(folder=tmp_path), *SMALL]
    assert main.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_check_cell_of_a_user_cell_passes():
    names = {}
    exec(SOURCE, names)  # as a notebook would  # noqa: S102
    check_cell(names["Mine"])


def test_check_cell_finds_a_user_cell_that_ignores_masks():
    names = {}
    exec(SOURCE, names)  # as a notebook would  # noqa: S102
    with pytest.raises(AssertionError, match=r"outputs in padding|carry of a (padded )?row"):
        check_cell(names["Careless"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["libraries", "--shapes", "2x8x4", "--cells"],
        [
            *("scaling", "--start", "2x8x4", "--axes", "length", "--lengths", "4", "--repeats"),
            *("1", "--layers"),
        ],
        [
            *("streaming", "--batches", "1", "--lengths", "3", "--width", "4", "--depth", "1"),
            *("--repeats", "1", "--cells"),
        ],
    ],
    ids=lambda arguments: arguments[0],
)
def test_bench_of_a_cell_from_a_file_is_measured(arguments, file, tmp_path):
    command = ["bench", *arguments, f"{file}:InModels", "--out", str(tmp_path)]
    assert main.main(command) == 0
    (record,) = records.read(tmp_path / "rows.jsonl")
    assert record.get("cell", record.get("layer")) == "InModels"


def test_speedup_variants_of_a_cell_without_a_torch_peer_include_no_torch(monkeypatch):
    without_peer = dataclasses.replace(REGISTRY["mingru"], torch=None)
    monkeypatch.setitem(REGISTRY, "mingru", without_peer)
    found = variants_of("mingru", ("auto",), "cpu", 8)
    assert [v.implementation for v in found] == ["rnnlab"]
