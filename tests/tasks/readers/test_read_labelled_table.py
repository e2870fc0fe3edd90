"""Labelled sequences of tables: which columns are read, and one-line errors with a location."""

import random

import numpy as np
import pytest
from reader_files import assert_read_or_refused, assert_refused, outcome

from rnnlab.tasks.readers.labelled_table import TableColumns, read_labelled_table

LONG = """id,time,x,y,label
b,2,3.0,30,no
a,1,1.5,10,yes
b,1,2.5,20,no
a,2,,40,yes
""".replace("a,2,,", "a,2,4.5,")


def read(source, labelled=True, **columns):
    return read_labelled_table(source, TableColumns(**columns), labelled=labelled)


def test_read_labelled_table_groups_and_orders_rows(write_file):
    found = read(write_file(LONG, "a.csv"))
    assert found.inputs.tolist() == [[[2.5, 20], [3, 30]], [[1.5, 10], [4.5, 40]]]
    assert found.targets.tolist() == [[-1, 0], [-1, 1]]
    assert (found.classes, found.features) == (("no", "yes"), ("x", "y"))
    dated = LONG.replace(",1,", ",01.02.2020,").replace(",2,", ",03.01.2021,")
    commas = LONG.replace(",", ";").replace(".", ",")
    for text in (dated, dated.replace(",", "\t"), commas):
        again = read(write_file(text, "a.tsv"), time="time")
        np.testing.assert_array_equal(again.inputs, found.inputs)


@pytest.mark.parametrize(
    ("labels", "targets", "classes"),
    [
        ("uuvv", [[1, 0], [0, 1]], ("u", "v")),
        ("uu v", [[-1, 0], [0, 1]], ("u", "v")),
        (" vu ", [[-1, 0], [-1, 1]], ("u", "v")),
        (("10", "9", "10", "9"), [[-1, 1], [-1, 0]], ("9", "10")),
        (("1.5", "2", "1.5", "2"), [[[np.nan], [1.5]], [[np.nan], [2]]], None),
        (("1.5", "2", "", "3"), [[[np.nan], [1.5]], [[2], [3]]], None),
    ],
)
def test_read_labelled_table_detects_the_kind_of_label(write_file, labels, targets, classes):
    labels = iter(labels)
    lines = [line.rsplit(",", 1)[0] for line in LONG.splitlines()]
    text = "\n".join([lines[0] + ",label", *(f"{x},{next(labels).strip()}" for x in lines[1:])])
    # The rows are b 2, a 1, b 1, a 2.
    found = read(write_file(text, "a.csv"))
    np.testing.assert_array_equal(found.targets, targets)
    assert found.classes == classes


def test_read_labelled_table_of_one_row_per_sequence(write_file):
    path = write_file("t0;t1;kind\n1,5;2,5;u\n3,5;;v\n", "a.csv")
    found = read(path, id=None, label="kind")
    assert found.inputs[..., 0].tolist() == [[1.5, 2.5], [3.5, 0]]
    assert found.targets.tolist() == [[-1, 0], [1, -1]]
    assert found.mask.tolist() == [[True, True], [True, False]]


def test_read_labelled_table_without_labels_takes_the_given_features(write_file):
    path = write_file("y,other,id,x\n1,word,a,2\n", "a.csv")
    found = read(path, labelled=False, features=("x", "y"))
    assert found.inputs.tolist() == [[[2, 1]]]
    assert found.targets is None


def test_read_labelled_table_of_parquet_equals_csv(write_file, tmp_path):
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    pandas.read_csv(write_file(LONG, "a.csv")).to_parquet(tmp_path / "a.parquet")
    for one, two in zip(read(tmp_path / "a.csv"), read(tmp_path / "a.parquet"), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("old", "new", "columns", "message"),
    [
        ("id,", "name,", {}, "line 1: must have a column 'id' .*; name one by --data.id, or None"),
        (",label", ",class", {}, "line 1: has no column 'label'; choose one of .* by --data.label"),
        ("", "", {"time": "day"}, "has no column 'day'; .* by --data.time"),
        ("", "", {"features": ("z",)}, "has no column 'z'"),
        ("b,1", ",1", {}, "line 4, column 'id': must not be empty"),
        ("1.5", "", {}, "line 3, column 'x': has a missing value; fill it in"),
        ("1.5", "one", {}, "line 3, column 'x': 'one' is not a finite number"),
        ("1.5", "1e39", {}, "example 1, time step 0: inputs must be finite"),
        ("a,1,", "a,soon,", {}, "line 3, column 'time': 'soon' is not a number, as the others"),
        ("yes", "", {}, "line 3, column 'label': must have a label in one row of the sequence"),
        ("", "", {"id": None, "label": "x"}, "column 'id': must have numbers, got 'b'; remove"),
    ],
)
def test_read_labelled_table_of_invalid_file_raises(write_file, old, new, columns, message):
    assert_refused(read, write_file(LONG.replace(old, new), "a.csv"), message, **columns)


def test_read_labelled_table_without_values_or_labels_raises(write_file):
    path = write_file("id,label\na,b\n", "a.csv")
    assert_refused(read, path, "must have a column of values, got 'id', 'label'; add one")
    path = write_file("id,x,label\na,1,\n", "a.csv")
    assert_refused(read, path, "column 'label': must have labels, got empty cells only")
    path = write_file("x,y,label\n1,,a\n,2,b\n", "a.csv")
    assert_refused(read, path, "line 3: must have missing values only after its last", id=None)


def test_read_labelled_table_of_mutated_file_reads_or_raises_one_line(write_file):
    rng, messages = random.Random(0), []
    for _ in range(300):
        text = list(LONG)
        for _ in range(rng.randrange(1, 4)):
            text[rng.randrange(len(text))] = rng.choice(',;\n"ab.-09e\0\u00e9')
        path = write_file("".join(text), "a.csv")
        messages.append(outcome(read, path, id=rng.choice(["id", None])))
    assert_read_or_refused(messages)
