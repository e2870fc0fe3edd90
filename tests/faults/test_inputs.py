"""Every bad input to the command line ends with one line and the documented exit code."""

import sys
import time

import pytest

from faults.inputs import CASES, Ended, in_a_process, run_case
from rnnlab.cli import main
from rnnlab.cli.commands import COMMANDS


@pytest.fixture
def in_this_process(monkeypatch, capfd, unchecked, implicit_promotion, quick_compile):
    """Runs the command by `main` in a folder of the test."""

    def execute(lab, case, arguments, here):
        monkeypatch.chdir(here)
        monkeypatch.setattr(sys, "argv", ["rnnlab", *arguments])
        capfd.readouterr()
        start = time.perf_counter()
        try:
            code = main.main(arguments)
        except SystemExit as error:
            code = error.code
        return Ended(code, capfd.readouterr().err, time.perf_counter() - start)

    return execute


def identify(case):
    return f"{case.number}: {case.what}"


@pytest.mark.parametrize("case", [case for case in CASES if not case.needs_process], ids=identify)
def test_bad_input_is_refused_in_one_line(lab, tmp_path, in_this_process, case):
    if case.package:
        pytest.importorskip(case.package)
    record = run_case(lab, case, tmp_path / "here", in_this_process)
    assert record["ok"], str(record)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow if case.arguments.startswith("sample") else ())
        for case in CASES
        if case.needs_process
    ],
    ids=identify,
)
def test_bad_input_to_a_process_is_refused_in_one_line(lab, tmp_path, case):
    record = run_case(lab, case, tmp_path / "here", in_a_process)
    assert record["ok"], str(record)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if not case.needs_process], ids=identify)
def test_bad_input_is_refused_by_a_process_too(lab, tmp_path, case):
    record = run_case(lab, case, tmp_path / "here", in_a_process)
    assert record["ok"], str(record)
    assert record["in_time"], str(record)


def test_cases_cover_all_groups_and_commands():
    commands = {case.arguments.split()[0] for case in CASES}
    assert commands >= {*COMMANDS, "bench"}
    assert {case.number for case in CASES} >= set(range(1, 41))
