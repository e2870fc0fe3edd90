"""Long event tables: grouped and ordered measurements, detected columns and kinds of times."""

import numpy as np
import pytest
from reader_files import assert_refused

from rnnlab.tasks.readers.events import EventColumns, read_events
from rnnlab.tasks.readers.labelled_table import TableColumns, read_labelled_table

TEXT = """Patient;Charttime;Parameter;ValueNum
b;3;HR;80
a;2.5;Temp;37
b;1;HR;70
b;1;Temp;36
b;1;HR;72
a;0;HR;
c;0;HR;?
"""


def check_text(events):
    assert events.ids == ("b", "a", "c")
    assert events.variables == ("HR", "Temp")
    assert events.offsets.tolist() == [0, 4, 5, 5]
    assert events.times.tolist() == [1, 1, 1, 3, 2.5]
    assert events.variable.tolist() == [0, 1, 0, 0, 1]
    assert events.values.tolist() == [70, 36, 72, 80, 37]
    assert events.starts is None


def test_events_are_ordered_by_record_then_time_then_line(write_file):
    events = read_events(write_file(TEXT))
    check_text(events)
    assert events.unit == ""
    assert events.notes == (
        "Cells are separated by semicolons.",
        "2 of 7 lines have no value and are skipped.",
    )


def test_record_has_distinct_times_and_the_last_value_of_each(write_file):
    events = read_events(write_file(TEXT))
    times, values = events.record(0)
    assert times.tolist() == [1, 3]
    np.testing.assert_array_equal(values, [[72, 36], [80, np.nan]])
    np.testing.assert_array_equal(events.record(1).values, [[np.nan, 37]])
    assert events.record(2).times.shape == (0,)
    assert events.record(2).values.shape == (0, 2)


@pytest.mark.parametrize("suffix", ["tsv", "parquet", None])
def test_events_are_the_same_in_every_kind_of_table(write_file, tmp_path, suffix):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(write_file(TEXT), sep=";", na_values="?")
    if suffix is None:
        source = frame
    else:
        source = tmp_path / f"a.{suffix}"
        if suffix == "tsv":
            frame.to_csv(source, sep="\t", index=False)
        else:
            frame.to_parquet(source)
    check_text(read_events(source))


@pytest.mark.parametrize(
    ("cells", "hours"),
    [
        (("00:07", "47:30", "01:00"), [0.11666666666666667, 47.5, 1.0]),
        (("00:07:30", "47:30", "01:00:00"), [0.125, 47.5, 1.0]),
        (("2020-02-28 12:00", "2020-03-01 00:00", "2020-02-29"), [0, 36, 12]),
        (("28.02.2020", "01.03.2020", "29.02.2020"), [0, 48, 24]),
    ],
)
def test_clock_times_and_dates_become_hours(write_file, cells, hours):
    lines = [f"1,{cell},x,{k}" for k, cell in enumerate(cells)]
    events = read_events(write_file("\n".join(["id,time,variable,value", *lines])))
    assert events.unit == "hours"
    order = np.argsort(hours)
    np.testing.assert_allclose(events.times, np.array(hours)[order], rtol=1e-15)
    assert events.values.tolist() == order.tolist()
    if "2020" in cells[0]:
        assert str(events.starts[0]).startswith("2020-02-28T")


def test_dates_of_each_record_start_at_its_own_first(write_file):
    text = "id,time,variable,value\n1,2020-01-02,x,1\n2,2021-01-01,x,2\n1,2020-01-01,x,\n"
    events = read_events(write_file(text))
    assert events.times.tolist() == [24, 0]
    assert events.starts.astype("datetime64[D]").astype(str).tolist() == [
        "2020-01-01",
        "2021-01-01",
    ]


def test_named_columns_and_chosen_variables_are_used(write_file):
    path = write_file(TEXT.replace("Parameter", "what").replace("ValueNum", "how much"))
    columns = EventColumns(variable="what", value="how much")
    events = read_events(path, columns, variables=("pH", "HR"))
    assert events.variables == ("pH", "HR")
    assert set(events.variable.tolist()) == {1}
    assert events.ids == ("b", "a", "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,time,x\n1,2,3\n",
            "line 1: must have a column named variable or parameter, got 'id', ",
        ),
        (TEXT.replace("b;3", ";3"), "line 2, column 'Patient': must not be empty; fill it in"),
        (TEXT.replace("Temp;37", ";37"), "line 3, column 'Parameter': must not be empty"),
        (TEXT.replace("2.5", "noon"), "line 3, column 'Charttime': 'noon' is not a number, as the"),
        (TEXT.replace(";80", ";high"), "line 2, column 'ValueNum': 'high' is not a finite number"),
    ],
)
def test_invalid_table_is_refused(write_file, text, message):
    assert_refused(read_events, write_file(text), message)


def test_missing_named_column_is_refused_with_its_option(write_file):
    message = "has no column 'x'; choose one of .* by --data.value"
    assert_refused(read_events, write_file(TEXT), message, EventColumns(value="x"))


def test_labelled_table_is_ordered_by_clock_times(write_file):
    text = "id,time,x,label\n1,10:00,2,a\n1,09:59,1,a\n"
    read = read_labelled_table(write_file(text), TableColumns())
    assert read.inputs[0, :, 0].tolist() == [1, 2]
