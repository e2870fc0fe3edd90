"""M4, C-MAPSS, NAB and MIT-BIH, on small files of their formats and on the real ones."""

import json

import numpy as np
import pytest
from reader_files import assert_refused
from small_data_set import is_here

from rnnlab.datasets import dataset_files
from rnnlab.tasks.readers.ecg import CLASSES, DS1, DS2, PACED, read_ecg
from rnnlab.tasks.readers.nab import WINDOWS, read_nab
from rnnlab.tasks.readers.turbofan import read_engines, read_turbofans
from rnnlab.tasks.readers.wide import read_wide_series


def needs(name):
    """Skips a test without a data set."""
    return pytest.mark.skipif(not is_here(name), reason=f"{name} is not here")


WIDE = '"V1","V2","V3","V4"\n"H1","605","586","511.5"\n"H2","3124","",""\n'


def test_wide_series_end_at_their_last_value(write_file):
    read = read_wide_series(write_file(WIDE))
    assert read.names == ("H1", "H2")
    assert [values.tolist() for values in read.values] == [[605, 586, 511.5], [3124]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WIDE.replace('"586"', '""'), "line 2: must have values, and missing ones only after its"),
        (WIDE.replace("3124", ""), "line 3: must have values"),
        (WIDE.replace("H2", "H1"), "line 3, column 'V1': has the name 'H1' twice; rename one"),
        ("name\na\n", "line 1: must have a column of names and columns of time steps, got one"),
    ],
)
def test_wide_table_with_gaps_or_equal_names_is_refused(write_file, text, message):
    assert_refused(read_wide_series, write_file(text), message)


@needs("m4-hourly")
def test_real_m4_gives_the_organizers_error_of_the_seasonal_naive_forecast():
    files = dataset_files("m4-hourly")
    train = read_wide_series(files["Hourly-train.csv"])
    test = read_wide_series(files["Hourly-test.csv"])
    assert train.names == test.names
    assert {len(values) for values in train.values} == {700, 960}
    errors = [
        np.abs(np.tile(past[-24:], 2) - future).mean() / np.abs(past[24:] - past[:-24]).mean()
        for past, future in zip(train.values, test.values, strict=True)
    ]
    assert round(np.mean(errors), 3) == 1.193


def engines(*lengths):
    """The text of engines: every value of a cycle is its number."""
    return "".join(
        f"{engine} {cycle} " + " ".join([f"{cycle}.5"] * 24) + "  \n"
        for engine, length in enumerate(lengths, 1)
        for cycle in range(1, length + 1)
    )


@pytest.fixture
def turbofans(tmp_path):
    texts = {"train": engines(3, 1), "test": engines(2, 2), "RUL": "7 \n0 \n"}
    files = {f"{name}_FD001.txt": tmp_path / f"{name}_FD001.txt" for name in texts}
    for path, text in zip(files.values(), texts.values(), strict=True):
        path.write_text(text)
    return files


def test_turbofans_have_values_per_cycle_and_remaining_life(turbofans):
    train, test = read_turbofans(turbofans)
    assert [len(values) for values in train.values] == [3, 1]
    np.testing.assert_array_equal(train.values[0], np.repeat([[1.5], [2.5], [3.5]], 24, axis=1))
    assert train.remaining_life(0).tolist() == [2, 1, 0]
    assert test.remaining_life(0).tolist() == [8, 7]
    assert test.remaining_life(1).tolist() == [1, 0]


def test_turbofans_with_another_number_of_truths_are_refused(turbofans):
    turbofans["RUL_FD001.txt"].write_text("7\n")
    with pytest.raises(
        ValueError, match=r"RUL_FD001.txt: must have one line per engine .*, got 1 "
    ):
        read_turbofans(turbofans)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", "line 1: must have 26 numbers, got 3; copy the file again"),
        (engines(2).replace("2.5", "two", 1), "line 2: must have 26 numbers, got '1 2 two"),
        (engines(2, 1).replace("2 1 ", "4 1 "), "line 3: must be engine 2, cycle 1, got 4 and 1"),
        (engines(2).replace("1 2 ", "1 3 "), "line 2: must be engine 1, cycle 2, got 1 and 3"),
    ],
)
def test_engines_that_do_not_count_from_1_are_refused(write_file, text, message):
    assert_refused(read_engines, write_file(text), message)


@needs("cmapss-fd001")
def test_real_turbofans_have_100_engines_in_each_part():
    train, test = read_turbofans(dataset_files("cmapss-fd001"))
    assert (len(train.values), len(test.values)) == (100, 100)
    assert sum(map(len, train.values)) == 20631
    assert test.remaining[:3].tolist() == [112, 98, 69]


@pytest.fixture
def benchmark(tmp_path):
    (tmp_path / "data" / "real").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    lines = [f"2014-04-01 00:{5 * k:02}:00,{k}.5" for k in range(6)]
    (tmp_path / "data" / "real" / "a.csv").write_text("\n".join(["timestamp,value", *lines]))
    windows = [["2014-04-01 00:05:00.000000", "2014-04-01 00:12:00.000000"]]
    (tmp_path / WINDOWS).write_text(json.dumps({"real/a.csv": windows, "real/b.csv": []}))
    return tmp_path


def test_nab_series_have_dates_values_and_windows(benchmark):
    (series,) = read_nab(benchmark)
    assert series.name == "real/a.csv"
    assert series.values.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert str(series.dates[1]) == "2014-04-01T00:05:00"
    assert series.is_anomalous().tolist() == [False, True, True, False, False, False]


def test_nab_without_labels_or_with_a_bad_line_is_refused(benchmark, tmp_path):
    (benchmark / "data" / "real" / "c.csv").write_text("timestamp,value\n2014-04-01 00:00:00,1\n")
    assert_refused(read_nab, benchmark, "must have the windows of real/c.csv, got none")
    (benchmark / "data" / "real" / "c.csv").unlink()
    (benchmark / "data" / "real" / "a.csv").write_text(
        "timestamp,value\n2014-04-01 00:00:00,1\nnoon,2\n"
    )
    assert_refused(read_nab, benchmark, "a.csv, line 3: must be a date and a number: ")
    (benchmark / WINDOWS).write_text("[]")
    assert_refused(read_nab, benchmark, "must map each series to its windows, pairs of dates: ")
    (benchmark / WINDOWS).unlink()
    assert_refused(read_nab, benchmark, "must have data/.*, got 1 series; give the folder or arch")


@needs("nab")
def test_real_nab_has_its_published_size():
    read = read_nab(dataset_files("nab")["nab"])
    assert len(read) == 58
    assert sum(len(series.values) for series in read) == 365558
    assert sum(len(series.windows) for series in read) == 116
    assert all(series.is_anomalous().any() == (len(series.windows) > 0) for series in read)


def test_ecg_records_are_sums_of_differences_with_classes_of_beats(tmp_path):
    signal = np.array([-29, -29, 1500, -400], np.int16)
    np.savez(
        tmp_path / "a.npz",
        signal_100=np.diff(signal, prepend=np.int16(0)),
        sample_100=np.array([18, 77, 360, 720, 1080, 1440], np.int32),
        code_100=np.array([28, 1, 5, 8, 6, 38], np.int8),
        lead_100="MLII",
    )
    (record,) = read_ecg(tmp_path / "a.npz")
    assert (record.name, record.lead) == ("100", "MLII")
    np.testing.assert_allclose(record.signal, signal / 200, rtol=1e-7)
    seconds, classes = record.beats()
    assert seconds.tolist() == [77 / 360, 1, 2, 3, 4]
    assert [CLASSES[k] for k in classes] == ["N", "V", "S", "F", "Q"]


def test_file_without_records_of_ecg_is_refused(write_file, tmp_path):
    assert_refused(read_ecg, write_file("text"), "cannot be read as electrocardiograms: ")
    np.savez(tmp_path / "b.npz", signal_100=np.zeros(3, np.int16))
    assert_refused(read_ecg, tmp_path / "b.npz", "cannot be read as electrocardiograms: ")


@needs("mitbih")
def test_real_ecg_has_the_published_beats_of_both_parts():
    records = read_ecg(dataset_files("mitbih")["mitbih"])
    assert {record.name for record in records} == {*DS1, *DS2, *PACED}
    for part, counts in ((DS1, [45866, 944, 3788, 415]), (DS2, [44259, 1837, 3221, 388])):
        found = [record.beats()[1] for record in records if record.name in part]
        assert np.bincount(np.concatenate(found))[:4].tolist() == counts
