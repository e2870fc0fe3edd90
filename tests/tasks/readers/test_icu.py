"""Stays of the PhysioNet challenge 2012, on small files of its format and on the real ones."""

import numpy as np
import pytest
from reader_files import assert_refused
from small_data_set import is_here

from rnnlab.datasets import dataset_files
from rnnlab.tasks.readers.icu import VARIABLES, read_icu_stays, read_outcomes, read_stays

HEAD = "Time,Parameter,Value\n00:00,RecordID,{}\n00:00,Age,54\n00:00,Gender,0\n00:00,Height,-1\n"
FIRST = (
    HEAD.format(132540) + "00:00,ICUType,4\n00:00,Weight,80.5\n00:07,HR,73\n00:07,,5\n"
    "00:37,HR,77\n00:37,Temp,-17.8\n00:37,NISysABP,-1\n47:07,pH,7.4\n"
)
SECOND = HEAD.format(132541) + "00:00,ICUType,2\n00:00,Weight,-1\n"
OUTCOMES = (
    "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"
    "132541,-1,8,8,-1,0\n132540,16,1,5,3,1\n"
)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "set-a").mkdir()
    (tmp_path / "set-a" / "132540.txt").write_text(FIRST)
    (tmp_path / "set-a" / "132541.txt").write_text(SECOND)
    (tmp_path / "set-a" / "README.txt").write_text("no stay")
    (tmp_path / "Outcomes-a.txt").write_text(OUTCOMES)
    return {name: tmp_path / name for name in ("set-a", "Outcomes-a.txt")}


def test_stays_have_measurements_descriptors_and_outcomes(files):
    stays = read_icu_stays(files, "a")
    assert stays.ids.tolist() == [132540, 132541]
    assert stays.events.variables == VARIABLES
    assert stays.events.unit == "hours"
    assert stays.events.offsets.tolist() == [0, 5, 5]
    times, values = stays.events.record(0)
    np.testing.assert_allclose(times, [0, 7 / 60, 37 / 60, 47 + 7 / 60], rtol=1e-15)
    known = np.argwhere(~np.isnan(values)).tolist()
    assert [(step, VARIABLES[k], values[step, k]) for step, k in known] == [
        (0, "Weight", 80.5),
        (1, "HR", 73),
        (2, "HR", 77),
        (2, "Temp", -17.8),
        (3, "pH", 7.4),
    ]
    nan = np.nan
    np.testing.assert_array_equal(stays.descriptors, [[54, 0, nan, 4], [54, 0, nan, 2]])
    np.testing.assert_array_equal(stays.outcomes, [[16, 1, 5, 3, 1], [nan, 8, 8, nan, 0]])
    assert stays.outcome("In-hospital_death").tolist() == [1, 0]


def test_stays_without_outcomes_are_refused(files):
    files["Outcomes-a.txt"].write_text(OUTCOMES.replace("132541", "132542"))
    with pytest.raises(
        ValueError, match=r"one line per stay of .*, got 2 for 2; 2 ids are in only"
    ):
        read_icu_stays(files, "a")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Time,P", "time,P", "132540.txt, line 1: must begin with 'Time,Parameter,Value', got "),
        ("00:07,HR,73", "00:07,HR", "132540.txt, line 8: must be a time, a parameter and a number"),
        ("00:07,HR,73", "7 am,HR,73", "132540.txt, line 8: .*'7 am' is not a time like 06:30"),
        ("00:07,HR,73", "00:07,HR,fast", "132540.txt, line 8: must be a time, a parameter and a n"),
        ("00:07,HR,73", "00:07,Hr,73", "132540.txt: parameter must be one of the 41 .*, got 'Hr'"),
    ],
)
def test_stay_that_is_not_of_the_format_is_refused(files, old, new, message):
    path = files["set-a"]
    (path / "132540.txt").write_text(FIRST.replace(old, new))
    assert_refused(read_stays, path, message)


def test_folder_without_stays_and_table_without_outcomes_are_refused(tmp_path, write_file):
    assert_refused(read_stays, tmp_path, "has no file of a stay, such as 132539.txt")
    assert_refused(read_outcomes, write_file("RecordID,SOFA\n1,2\n"), "has no column 'SAPS-I'")


@pytest.mark.skipif(not is_here("physionet2012"), reason="the data set is not here")
@pytest.mark.parametrize(
    ("part", "deaths"),
    [*(pytest.param(*x, marks=pytest.mark.slow) for x in (("a", 554), ("b", 568))), ("c", 585)],
)
def test_real_stays_have_the_published_number_of_deaths(part, deaths):
    stays = read_icu_stays(dataset_files("physionet2012"), part)
    assert len(stays.ids) == 4000
    assert stays.outcome("In-hospital_death").sum() == deaths
    assert stays.events.times.max() <= 48
    assert np.unique(stays.events.variable).tolist() == list(range(37))
