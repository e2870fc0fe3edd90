"""Tables fit the terminal, and show everything elsewhere."""

import re
from pathlib import Path

import pytest

from rnnlab.bench import speedup_table as speedup
from rnnlab.bench.libraries import LibrariesBenchmark
from rnnlab.bench.scan import ScanBenchmark
from rnnlab.cli.result_table import result_table
from rnnlab.records import read
from rnnlab.tables import Table, fitting_columns, print_table, print_text, wide_tables

RESULTS = Path(__file__).parent.parent / "experiments" / "results"
TABLES = {
    "char_lm": result_table,
    "forecasting": result_table,
    "speedup_paper_size": speedup.table,
    "scan_bandwidth": ScanBenchmark.table,
    "libraries": LibrariesBenchmark.table,
}


def printed(table, capsys, monkeypatch, columns, terminal=True):
    """What is printed at a width, without the rules between the cells."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if terminal else "0")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(table)
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)  # without bold type


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize("name", TABLES)
def test_table_fits_the_terminal_and_cuts_nothing(capsys, monkeypatch, name, columns):
    table = TABLES[name](list(read(RESULTS / name / "rows.jsonl")))
    lines = printed(table, capsys, monkeypatch, columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert not any("…" in line for line in lines)
    shown = " ".join(lines)
    note = re.search(r"Not shown: (.*)\. Add --wide", shown)
    hidden = [] if note is None else re.sub(" +", " ", note[1]).split("; ")
    assert set(hidden) <= set(table.optional)
    assert bool(hidden) == (len(fitting_columns(table, columns)) < len(table.headings))
    # The last required column of the first table row is there in full.
    required = [k for k, heading in enumerate(table.headings) if heading not in table.optional]
    assert table.lines[0][required[-1]] in shown


def test_columns_that_are_left_out_are_named_and_wide_shows_them(capsys, monkeypatch):
    lines = [("gru", "1.2345", "x" * 60)]
    table = Table("title", ("cell", "loss", "note"), lines, optional=("note",))
    narrow = printed(table, capsys, monkeypatch, 40)
    assert "1.2345" in narrow
    assert "Not shown: note. Add --wide to see" in narrow
    with wide_tables():
        wide = printed(table, capsys, monkeypatch, 40)
    assert "x" * 60 in wide
    assert "Not shown" not in wide


def test_table_in_a_pipe_has_every_column(capsys, monkeypatch):
    table = TABLES["speedup_paper_size"](list(read(RESULTS / "speedup_paper_size" / "rows.jsonl")))
    text = printed(table, capsys, monkeypatch, 80, terminal=False)
    assert "Not shown" not in text
    assert speedup.RATIO_HEADING in text  # headings are not folded
    assert "compile, s" in text
    assert "…" not in text


def test_pipe_is_not_a_terminal_where_a_variable_forces_color(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    print_table(Table("title", ("name", "value"), [("x" * 30, "1")], optional=("value",)))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "value" in printed


def test_heading_is_folded_to_as_few_lines_as_the_terminal_allows(capsys, monkeypatch):
    table = Table("", ("relative to the cell", "n"), [("1.00", "2")])
    assert "relative to the cell" in printed(table, capsys, monkeypatch, 40)
    assert "relative to " in printed(table, capsys, monkeypatch, 22)
    narrow = printed(table, capsys, monkeypatch, 18)
    assert [word in narrow for word in ("relative to ", "relative")] == [False, True]


def test_text_is_wrapped_at_a_readable_width_in_a_wide_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    print_text("word " * 60)
    assert 90 < max(map(len, capsys.readouterr().out.splitlines())) <= 100
