"""Cells of a user's own: in the contract's checks and in the benchmark, from a file."""

import pytest

from rnnlab import records
from rnnlab.bench import speedup_table
from rnnlab.cli import main
from rnnlab.testing import check_cell

pytestmark = pytest.mark.usefixtures("implicit_promotion")

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


class Careless(Mine):
    """Forgets what a mask is for."""

    def __call__(self, carry, xs, *, reset=None, mask=None):
        return self.inner(carry, xs, reset=reset)
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_a_cell_from_a_file_is_measured_beside_the_others(file, tmp_path, capsys):
    cells = [f"{file}:Mine", "mingru"]
    assert main.main(["speedup", "--cells", *cells, *SMALL, "--out", str(tmp_path)]) == 0
    measured = list(records.read(tmp_path / "speedup.jsonl"))
    own = [r for r in measured if r["implementation"] == speedup_table.OWN]
    assert [(r["cell"], r["pass"]) for r in own] == [("Mine", "forward"), ("Mine", "train")]
    assert all(speedup_table.minimal_seconds(measured, r) for r in own)
    assert "Mine" in capsys.readouterr().out
    assert (tmp_path / "speedup.png").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{folder}/none.py:Mine", "none.py is no file"),
        ("{folder}/mine.py:Yours", "must define a class 'Yours'"),
        ("mingruu", "cell 'mingruu' is unknown; did you mean 'mingru'?"),
    ],
)
def test_what_is_no_cell_is_refused(name, said, file, tmp_path, capsys):
    arguments = ["speedup", "--cells", name.format(folder=tmp_path), *SMALL]
    assert main.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_contract_judges_a_class(file):
    names = {}
    exec(SOURCE, names)  # as a notebook would  # noqa: S102
    check_cell(names["Mine"])
    with pytest.raises(AssertionError, match=r"outputs in padding|carry of a row"):
        check_cell(names["Careless"])
