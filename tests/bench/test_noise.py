"""Marks of times that vary much between the rounds of a benchmark."""

from rnnlab.bench.noise import is_noisy, mark_noise, noise_sentence
from rnnlab.tables import Table


def timed(implementation, q1, q3):
    times = {"step_seconds": 1.0, "step_seconds_q1": q1, "step_seconds_q3": q3}
    return {"implementation": implementation, **times, "compile_seconds": None}


STEADY, NOISY = timed("rnnlab", 0.9, 1.1), timed("torch", 0.9, 1.2)
TABLE = Table("title", ("cell", "step"), [("gru", "1.0")] * 3)


def test_noisy_time_is_marked_whatever_library_it_is_of():
    for noisy in (NOISY, {**NOISY, "implementation": "rnnlab"}):
        marked = mark_noise(TABLE, [STEADY, STEADY, noisy])
        assert marked.headings == ("cell", "step", "noise")
        assert [line[2] for line in marked.lines] == ["", "", "noisy"]
        assert marked.optional == ("noise",)
    found = noise_sentence([STEADY, STEADY, NOISY])
    assert found.startswith("1 of 3 times is noisy: the quartiles differ by more than 25%")
    assert "other times" not in found


def test_all_times_are_marked_where_many_are_noisy():
    measured = [NOISY, STEADY, NOISY]
    assert {line[2] for line in mark_noise(TABLE, measured).lines} == {"noisy"}
    assert "The other times are from the same rounds and may be too" in noise_sentence(measured)


def test_table_without_noisy_times_is_unchanged():
    assert mark_noise(TABLE, [STEADY] * 3) == TABLE
    assert mark_noise(TABLE, [NOISY]) == TABLE  # its rows are not the records
    assert not noise_sentence([STEADY])
    assert not is_noisy({"seconds": None, "seconds_q1": None, "seconds_q3": None})
    assert not is_noisy({"ratio": 1.0, "ratio_q1": 0.1, "ratio_q3": 2.0})
