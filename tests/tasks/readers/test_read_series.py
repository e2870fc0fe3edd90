"""Series in CSV files: what is read, and one-line errors with a location."""

import math
import re
from importlib.util import find_spec

import numpy as np
import pytest
from reader_files import assert_refused

from rnnlab.errors import DataError
from rnnlab.tasks.readers.series import SeriesColumns, read_series


def series(write_file, text, values=None, **columns):
    return read_series(write_file(text, "a.csv"), SeriesColumns(values, **columns))


def values(write_file, text, *arguments, **columns):
    """The values of a single column."""
    return series(write_file, text, *arguments, **columns).values[0, :, 0]


def test_read_series_reads_named_column_with_gaps(write_file):
    text = '\na,"b, c"\n1,2.5\n,NA\n-1e3,\n+.5,nan\n\n7,"8"\n,\n\n'
    read = series(write_file, text, "b, c")
    np.testing.assert_array_equal(read.values[0, :, 0], [2.5, math.nan, math.nan, math.nan, 8])
    assert (read.columns, read.names, read.dates, read.days) == (("b, c",), ("",), None, None)
    np.testing.assert_array_equal(values(write_file, text, "a"), [1, math.nan, -1000, 0.5, 7])


def test_read_series_without_column_takes_the_only_one(write_file):
    for name in ("Date", "ds", "when"):
        read = series(write_file, f"{name},x\n2020-01-01,1\n2020-01-02,2\n")
        assert read.columns == ("x",)
        assert read.days == 1
    assert values(write_file, "x\n1\n2\n").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("dates", "places", "days"),
    [
        (["2020-01-01", "2020-01-03", "2020-01-04"], [0, 2, 3], 1),
        (["2020/01/01", "2020/01/08", "2020/01/22"], [0, 1, 3], 7),
        (["19580329", "19580405", "19580419"], [0, 1, 3], 7),
        (["2020-01-01 00:00:00", "2020-01-01 01:00:00", "2020-01-01T04:00"], [0, 1, 4], 1 / 24),
        (["2020-01", "2020-02", "2020-05"], [0, 1, 4], 121 / 4),
        (["2020-01-31", "2020-02-29", "2020-03-31", "2020-06-30"], [0, 1, 2, 5], 151 / 5),
        (["2020-01-15", "2020-02-15", "2020-04-15"], [0, 1, 3], 91 / 3),
        (["2019-03-31", "2019-06-30", "2019-12-31"], [0, 1, 3], 275 / 3),
        (["1990", "1991", "1994"], [0, 1, 4], 1461 / 4),
        (["2020-03-29T00:00+00:00", "2020-03-29T03:00+02:00"], [0, 1], 1 / 24),
    ],
)
def test_read_series_with_missing_dates_has_gaps(write_file, dates, places, days):
    rows = "\n".join(f"{date},{k}" for k, date in enumerate(dates))
    read = series(write_file, f"date,x\n{rows}\n")
    found = read.values[0, :, 0]
    assert len(read.dates) == len(found) == places[-1] + 1
    assert np.flatnonzero(~np.isnan(found)).tolist() == places
    assert found[places].tolist() == list(range(len(dates)))
    assert read.days == pytest.approx(days)
    assert (np.diff(read.dates) > np.timedelta64(0, "s")).all()


def test_read_series_of_month_ends_keeps_month_ends(write_file):
    read = series(write_file, "date,x\n2020-01-31,1\n2020-02-29,1\n2020-04-30,1\n")
    assert read.dates.astype("datetime64[D]").astype(str).tolist() == [
        "2020-01-31",
        "2020-02-29",
        "2020-03-31",
        "2020-04-30",
    ]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("a,b\n1,2\n1\n", ("a",), "line 3: must have 2 cells, as the header, got 1"),
        ("a,b\n1,2,3\n", ("a",), "line 2: must have 2 cells, as the header, got 3"),
        ('a\n1\n"2\n3\n', ("a",), "line 3: cannot be split into cells"),
        ('a\n"1\n1"\nx\n', ("a",), "line 2, column 'a': '1.n1' is not a finite number"),
        ('a,b\n"",""\n1,"x\ny"\nz,2\n', ("a",), "line 5, column 'a': 'z'"),
        (
            "a,b\n1,2\n",
            ("c",),
            "line 1: has no column 'c'; choose one of 'a', 'b' by --data.column",
        ),
        ("a,b\n1,2\n", (), "got None; choose one or more of 'a', 'b' by --data.column"),
        ("a,a\n1,2\n", ("a",), "line 1: has two columns 'a'"),
        ("1,2\n3,4\n", (), "line 1: must have a header of names"),
        (
            "2020-01-01,2\n2020-01-02,4\n",
            (),
            "line 1: must have a header of names, got numbers or dates",
        ),
        ("date,a\n0001-01-01T00:00+05:00,1\n", ("a",), "line 2, .* is not a date"),
        ("date,a\n2020-01-01T00:00:00.5,1\n", ("a",), "line 2, .* is not a date"),
        ("a\n", ("a",), "must have lines under its header"),
        ("a\n1\ntwo\n", ("a",), "line 3, column 'a': 'two' is not a finite number"),
        ("a\n1_000\n", ("a",), "'1_000' is not"),
        ("a\n1\ninf\n", ("a",), "line 3, column 'a': 'inf' is not"),
        ("a\n1e400\n", ("a",), "'1e400' is not"),
        ("a\n\u0661\n", ("a",), "is not a finite"),
        ("a\nNA\n?\n", ("a",), "column 'a': has no value"),
        (
            "date,a\n2020-01-01,1\n2020-01-01,2\n",
            ("a",),
            "line 3, column 'date': has 2020-01-01T00:00:00 twice",
        ),
        ("date,a\n2020-01-02,1\n2020-01-01,2\n", ("a",), "line 3, .* comes after a later date"),
        ("date,a\n01/02/2020,1\n", ("a",), "'01/02/2020' can be 2020-02-01 or 2020-01-02; set"),
        ("date,a\n31.01.2020,1\nx,2\n", ("a",), "line 3, .*'x' is not a date; write it like %d"),
        ("date;a\n2020-01-01;1,5\n2020-01-02;1.5\n", ("a",), "line 2, .* '1,5' is not a finite"),
        (
            "date,a,s\n2020-01-01,1,x\n2020-01-01,2,x\n2020-01-01,2,y\n",
            ("a", None, None, "s"),
            "line 3, column 'date': has 2020-01-01.* twice in one series",
        ),
        ("date,a,b\n2020-01-01,1,2\n", (), "column must be given, got None; choose .* 'a', 'b'"),
        ("date,a\n2020-01-01,1\n", ("a", None, "%d.%m.%Y"), "is not a date; write dates like %d"),
        ("date,a\n2020-01-01,1\n,2\n", ("a",), "line 3, column 'date': '' is not a date"),
        ("date,a\n2020-01-01,1\n", ("a",), "must have >= 2 dates"),
        ("x,a\n2020-01-01,1\n", ("a", "y"), "has no column 'y'"),
        (
            "date,a\n2020-01-01,1\n2020-01-03,2\n2020-01-05,2\n2020-01-06,2\n",
            ("a",),
            "line 5, column 'date': 2020-01-06.* must be a multiple of 2 days",
        ),
        (
            "date,a\n2020-01-01,1\n2020-01-02,2\n2040-01-01,3\n",
            ("a",),
            "got 3 dates in 7306 time steps of 1 days",
        ),
    ],
)
def test_read_series_of_invalid_table_raises(write_file, text, arguments, message):
    columns = SeriesColumns(*arguments)
    assert_refused(read_series, write_file(text, "a.csv"), message, columns)


def test_read_series_of_one_column_reads_blank_lines_as_gaps(write_file):
    np.testing.assert_array_equal(values(write_file, "a\n1\n\n3\n\n"), [1, math.nan, 3])
    read = values(write_file, "a,b\n1,2\n,\n3,4\n,\n", "a")
    np.testing.assert_array_equal(read, [1, math.nan, 3])


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("day;x\n2020-01-31;1.234,5\n2020-02-29;-0,5\n", ["semicolons"]),
        ("day\tx\n2020-01-31\t1234.5\n2020-02-29\t-.5\n", ["tabs"]),
        ("day|x\n31.01.2020|1234.5\n29.02.2020|-.5\n", ["vertical bars", "'day' .* %d.%m.%Y"]),
        ("x,day\n1234.5,01/31/2020\n-.5,02/29/2020\n", ["%m/%d/%Y"]),
        ("x,day\n1234.5,31/01/2020\n-.5,29/02/2020\n", ["%d/%m/%Y"]),
        ('x,day\n1234.5,"Jan 31, 2020"\n-.5,"Feb 29, 2020"\n', ["%b %d, %Y"]),
        ("x,day\n1234.5,1/31/2020 12:00 AM\n-.5,2/29/2020 12:00 AM\n", ["%I:%M %p"]),
    ],
)
def test_read_series_detects_delimiters_decimal_commas_and_dates(write_file, text, notes):
    read = series(write_file, text)
    assert read.values[0, :, 0].tolist() == [1234.5, -0.5]
    assert read.dates.astype("datetime64[D]").astype(str).tolist() == ["2020-01-31", "2020-02-29"]
    assert len(read.notes) == len(notes)
    for note, wanted in zip(read.notes, notes, strict=True):
        assert re.search(wanted, note)


def test_read_series_with_date_format_reads_ambiguous_dates(write_file):
    text = "date,x\n01/02/2020,1\n01/03/2020,2\n"
    for form, days in (("%d/%m/%Y", 29), ("%m/%d/%Y", 1)):
        assert series(write_file, text, date_format=form).days == days


def test_read_series_of_quarters_are_three_months_apart(write_file):
    read = series(write_file, "quarter,x\n2019Q4,1\n2020 Q1,2\n2020-Q3,3\n")
    np.testing.assert_array_equal(read.values[0, :, 0], [1, 2, math.nan, 3])


def test_read_series_of_panel_shares_one_calendar(write_file):
    text = (
        "store,date,sales,open\nb,2020-01-02,5,yes\na,2020-01-04,4,1\na,2020-01-01,1,0\n"
        "b,2020-01-03,6,no\n"
    )
    read = series(write_file, text, series="store", known_covariates="open")
    assert read.names == ("a", "b")
    nan = math.nan
    np.testing.assert_array_equal(read.values[..., 0], [[1, nan, nan, 4], [nan, 5, 6, nan]])
    np.testing.assert_array_equal(
        read.known_covariates[..., 0], [[0, nan, nan, 1], [nan, 1, 0, nan]]
    )


def test_read_series_of_parquet_and_frame_equals_csv(write_file, tmp_path):
    pandas = pytest.importorskip("pandas")
    path = write_file("date,x,y\n2020-01-01,1.5,\n2020-01-03,2,3\n", "a.csv")
    wanted = read_series(path, SeriesColumns("x, y"))
    frame = pandas.read_csv(path, parse_dates=["date"]).set_index("date")
    sources = [frame, frame.reset_index()]
    if find_spec("pyarrow"):
        frame.to_parquet(tmp_path / "a.parquet")
        sources.append(tmp_path / "a.parquet")
    for source in sources:
        read = read_series(source, SeriesColumns("x, y"))
        np.testing.assert_array_equal(read.values, wanted.values)
        np.testing.assert_array_equal(read.dates, wanted.dates)


def test_read_series_of_corrupt_parquet_raises_one_line(write_file):
    pytest.importorskip("pyarrow")
    assert_refused(read_series, write_file(b"PAR1 not", "a.parquet"), "cannot be read as Parquet")


@pytest.mark.parametrize("times", [("0", "1", "2"), ("00:00", "01:00", "02:00")])
def test_dates_and_hours_of_two_columns_are_one_date(tmp_path, times):
    path = tmp_path / "bikes.csv"
    path.write_text("n,day,hr\n" + "".join(f"{k},2011-01-31,{x}\n" for k, x in enumerate(times)))
    series = read_series(path, SeriesColumns("n", date="day,hr"))
    assert series.days == pytest.approx(1 / 24)
    assert str(series.dates[-1]) == "2011-01-31T02:00:00"
    assert series.unused == ()


def test_three_columns_of_dates_raise(tmp_path):
    path = tmp_path / "bikes.csv"
    path.write_text("n,year,month,day\n1,2011,1,1\n")
    with pytest.raises(DataError, match="date must name one column or two, got 'year,month,day'"):
        read_series(path, SeriesColumns("n", date="year,month,day"))
