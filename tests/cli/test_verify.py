"""`rnnlab verify`: valid and corrupt run directories."""

import os
import shutil
from pathlib import Path

import pytest

from rnnlab import errors, records
from rnnlab.cli import main
from rnnlab.cli.verify import findings_of
from rnnlab.runs.lock import lock_run

GOLDEN = Path(__file__).parent.parent / "data" / "checkpoint_v1"


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(GOLDEN, tmp_path / "run"))


def verified(folder, capsys):
    code = main.main(["verify", str(folder)])
    said = capsys.readouterr()
    assert said.err.count("\n") == (1 if code else 0)
    return code, said.out + said.err


def test_verify_of_a_valid_run_changes_nothing(run, capsys):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    code, said = verified(run, capsys)
    assert code == 0
    assert "corrupt" not in said
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def edit(path, there, instead):
    text = path.read_text(encoding="utf-8")
    assert text.count(there) == 1
    path.write_text(text.replace(there, instead), encoding="utf-8")


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("checkpoints/4", lambda run: flip(max((run / "checkpoints").glob("*/state/state/d/*")))),
        ("checkpoints/4", lambda run: (run / "checkpoints" / "4" / "integrity.json").unlink()),
        ("latest.json", lambda run: (run / "latest.json").write_text("", encoding="utf-8")),
        ("best.json", lambda run: (run / "best.json").write_text('{"step": 9}', encoding="utf-8")),
        ("environment.json", lambda run: (run / "environment.json").write_text("{")),
        ("environment.json", lambda run: (run / "environment.json").unlink()),
        ("config.json", lambda run: (run / "config.json").write_text("{}", encoding="utf-8")),
        ("checkpoints/4", lambda run: edit(run / "config.json", '"steps": 4', '"steps": 5')),
        ("metrics.jsonl", lambda run: (run / "metrics.jsonl").write_text("x\ny\n")),
    ],
)
def test_verify_names_the_corrupt_file(run, capsys, part, damage):
    damage(run)
    assert part in [finding.path for finding in findings_of(run) if not finding.valid]
    code, said = verified(run, capsys)
    assert code == errors.CHECKPOINT
    assert f"rnnlab: error: {run / part}: " in said


def test_verify_after_a_killed_process_reports_valid_leftovers(run, capsys):
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')
    (run / "checkpoints" / "6.new").mkdir()
    (run / "damaged" / "2").mkdir(parents=True)
    code, said = verified(run, capsys)
    assert code == 0
    parts = ("without an incomplete last line", "left by a killed process")
    for part in (*parts, "damaged/2", "kept for inspection"):
        assert part in said


@pytest.mark.parametrize(
    "row",
    [{}, {"step": [1]}, {"step": 1, "set": "valid"}, {"step": 1, "resumed_from": "x"}],
)
def test_verify_of_invalid_metrics_is_an_error(run, capsys, row):
    records.append(run / "metrics.jsonl", row)
    code, said = verified(run, capsys)
    assert code == errors.CHECKPOINT
    assert "contains an invalid metrics record" in said


@pytest.mark.parametrize("name", ["environment.json", "latest.json", "metrics.jsonl"])
def test_verify_of_a_pipe_does_not_block(run, capsys, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    code, said = verified(run, capsys)
    assert code == errors.CHECKPOINT
    assert f"{run / name}: corrupt: " in said


def test_verify_prints_names_with_brackets(tmp_path, capsys):
    shutil.copytree(GOLDEN, tmp_path / "a[" / "b]")
    code, said = verified(tmp_path / "a[" / "b]", capsys)
    assert code == 0
    assert "a[/b]" in said


def test_verify_of_a_locked_run_is_refused(run, capsys):
    with lock_run(run):
        code, said = verified(run, capsys)
    assert code == errors.LOCKED
    assert f"{run} is locked by process" in said


def test_verify_of_a_directory_checks_every_run_below_it(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "more" / "run")
    (tmp_path / "more" / "run" / "checkpoints" / "4" / "integrity.json").write_text("")
    code, said = verified(tmp_path, capsys)
    assert code == errors.CHECKPOINT
    assert said.count("config.json") == 2
    assert str(tmp_path / "more" / "run" / "checkpoints" / "4") in said
