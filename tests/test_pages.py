"""Tables on pages match the committed records; examples on pages run."""

import doctest
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import jax
import pytest
import update_tables

from rnnlab.cli import main
from rnnlab.cli import parser as command_line
from rnnlab.cli.experiment_flags import experiments
from rnnlab.cli.shipped import EXPERIMENTS
from rnnlab.load_module import is_reference
from rnnlab.runs.grid import load_presets

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("**/*.md"))]
OPTIONAL = ("torch", "onnxruntime")
"""Packages of extras that examples on pages import."""


def test_tables_match_the_committed_records():
    for name in update_tables.PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert update_tables.with_tables(text) == text, (
            f"{name} is out of date: run tools/update_tables.py"
        )


def test_every_table_is_on_a_page():
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in update_tables.PAGES)
    assert set(re.findall(r"<!-- rows: (.*?) -->", text)) == set(update_tables.TABLES)


def test_committed_records_have_their_provenance():
    from rnnlab.records import read

    files = list((ROOT / "experiments").glob("results/*/rows.jsonl"))
    assert files
    for path in files:
        for record in read(path):
            assert {"device", "versions", "seed", "command", "xla_flags"} <= set(record), path


def runnable_sections(text):
    """The text without the sections whose examples import a package of an extra that is missing."""
    missing = [package for package in OPTIONAL if find_spec(package) is None]
    imports = re.compile(rf"^>>> (?:from|import) (?:{'|'.join(missing) or '$'})\b", re.M)
    sections = re.split(r"^(?=## )", text, flags=re.M)
    return "".join(section for section in sections if not imports.search(section))


@pytest.mark.parametrize("page", PAGES)
def test_examples_on_a_page_run(page):
    text = runnable_sections((ROOT / page).read_text(encoding="utf-8"))
    names = {}
    # The pages' examples are written for JAX's defaults.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            test = doctest.DocTestParser().get_doctest(block, names, page, page, 0)
            assert test.examples, f"{page} has an example that is not run:\n{block}"
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            runner.run(test, clear_globs=False)
            assert runner.failures == 0
            names = test.globs


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_a_page_parse(page):
    """Every `rnnlab` command on a page parses: its names, its flags and their values."""
    text = (ROOT / page).read_text(encoding="utf-8")
    commands = re.findall(r"^ {4,8}(?:pip install \S+ && )?rnnlab (\S.*)", text, re.MULTILINE)
    commands += re.findall(r"^\| `rnnlab ([^`|]*)` \|", text, re.MULTILINE)  # a row of a table
    for line in commands:
        words = shlex.split(re.split(r" {2,}", line)[0])  # what follows two spaces explains it
        words = [word for word in words if word not in (main.KEEP, main.NO_KEEP, "--help")]
        if words[0] != "COMMAND":
            command, flags, _ = command_line.parse(words)
        if words[0] != "run" or any(map(is_reference, flags)):  # a file of the reader's
            continue
        for file in (ROOT / command.file, ROOT / EXPERIMENTS / f"{command.file}.py"):
            if file.exists():  # not FILE
                experiments(load_presets(file)[command.preset], flags)
