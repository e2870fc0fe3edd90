"""Tables on pages: what matters is at the left, what is long is folded."""

from page_tables import by_cell, minimal_first, page_table, pivoted, with_details

from rnnlab.tables import Table

LONG = Table(
    "machine",
    ("pass", "backend", "seconds", "ratio"),
    [("forward", "slow", "2", "2.0"), ("forward", "fast", "1", "1.0")],
    optional=("seconds",),
)


def test_page_table_has_the_finding_first_and_optional_columns_last():
    lines = page_table(LONG, "Fast is faster.").splitlines()
    assert lines[0] == "Fast is faster."
    assert lines[2] == "| pass | backend | ratio | seconds |"


def test_pivoted_table_has_one_column_per_text_in_the_given_order():
    short = pivoted(LONG, ["pass"], "backend", "ratio", ["fast"])
    assert short.headings == ("pass", "fast", "slow")
    assert short.lines == [("forward", "1.0", "2.0")]


def test_table_by_cell_has_minimal_cells_first_and_gaps_where_nothing_was_measured():
    records = [{"cell": cell, "at": at} for cell, at in (("gru", 1), ("mingru", 1), ("gru", 2))]
    table = by_cell(records, "", "length", lambda r: str(r["at"]), lambda r: r["cell"])
    assert table.headings == ("length", "minGRU", "GRU")
    assert table.lines == [("1", "mingru", "gru"), ("2", "", "gru")]


def test_minimal_first_keeps_other_columns_in_their_place():
    table = minimal_first(Table("", ("task", "GRU", "minGRU", "seeds"), [("t", "1", "2", "3")]))
    assert table.headings == ("task", "minGRU", "GRU", "seeds")
    assert table.lines == [("t", "2", "1", "3")]


def test_details_hold_the_full_table_without_a_second_note_on_the_machine():
    text = with_details(LONG._replace(lines=LONG.lines[:1]), LONG)
    assert text.count("Measured on: machine.") == 1
    assert "<summary>All 2 measurements</summary>" in text
    assert text.endswith("</details>")
