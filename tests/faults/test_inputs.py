"""Every bad input to the command line meets one line and the exit code that is promised for it."""

import pytest

from faults.inputs import CASES, refuse


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.number}: {case.what}")
def test_bad_input_is_refused(lab, tmp_path, case):
    row = refuse(lab, case, tmp_path / "here")
    assert row["ok"], row


def test_the_list_is_whole():
    assert {case.number for case in CASES} >= set(range(1, 28))
