"""Marks of times that vary much between the rounds of a benchmark."""

from rnnlab.bench.noise import is_noisy, mark_noise, noise_sentence
from rnnlab.tables import Table


def timed(implementation, q1, q3):
    times = {"step_seconds": 1.0, "step_seconds_q1": q1, "step_seconds_q3": q3}
    return {"implementation": implementation, **times, "compile_seconds": None}


STEADY, NOISY = timed("rnnlab", 0.9, 1.1), timed("torch", 0.9, 1.2)
TABLE = Table("title", ("cell", "step"), [("gru", "1.0"), ("gru", "1.0")])


def test_noisy_time_is_marked_whatever_library_it_is_of():
    for noisy in (NOISY, {**NOISY, "implementation": "rnnlab"}):
        marked = mark_noise(TABLE, [STEADY, noisy])
        assert marked.headings == ("cell", "step", "noise")
        assert marked.lines == [("gru", "1.0", ""), ("gru", "1.0", "noisy")]
        assert marked.optional == ("noise",)
    assert noise_sentence([STEADY, NOISY]).startswith("1 of 2 times is noisy: the quartiles differ")


def test_table_without_noisy_times_is_unchanged():
    assert mark_noise(TABLE, [STEADY, STEADY]) == TABLE
    assert mark_noise(TABLE, [NOISY]) == TABLE  # its rows are not the records
    assert not noise_sentence([STEADY])
    assert not is_noisy({"seconds": None, "seconds_q1": None, "seconds_q3": None})
    assert not is_noisy({"ratio": 1.0, "ratio_q1": 0.1, "ratio_q3": 2.0})
