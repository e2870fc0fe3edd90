"""`rnnlab verify`: a whole run's folder, and what of it is sound."""

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


def test_a_sound_run_is_sound_and_stays_as_it_is(run, capsys):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    code, said = verified(run, capsys)
    assert code == 0
    assert "damaged" not in said
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
def test_what_is_damaged_is_named(run, capsys, part, damage):
    damage(run)
    assert part in [finding.part for finding in findings_of(run) if not finding.sound]
    code, said = verified(run, capsys)
    assert code == errors.CHECKPOINT
    assert f"rnnlab: error: {run / part}: " in said


def test_a_torn_row_and_what_a_killed_process_left_are_told_and_sound(run, capsys):
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 4, "lo')
    (run / "checkpoints" / "6.new").mkdir()
    (run / "damaged" / "2").mkdir(parents=True)
    code, said = verified(run, capsys)
    assert code == 0
    for part in ("cut off is left out", "left by a killed process", "damaged/2", "kept for a look"):
        assert part in said


@pytest.mark.parametrize(
    "row",
    [{}, {"step": [1]}, {"step": 1, "set": "valid"}, {"step": 1, "resumed_from": "x"}],
)
def test_rows_of_another_kind_are_damage(run, capsys, row):
    records.append(run / "metrics.jsonl", row)
    code, said = verified(run, capsys)
    assert code == errors.CHECKPOINT
    assert "has what is no row of metrics" in said


@pytest.mark.parametrize("name", ["environment.json", "latest.json", "metrics.jsonl"])
def test_a_pipe_for_a_file_is_damage_and_not_waited_for(run, capsys, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    code, said = verified(run, capsys)
    assert code == errors.CHECKPOINT
    assert "is no file" in said


def test_names_with_brackets_are_shown_as_they_are(tmp_path, capsys):
    shutil.copytree(GOLDEN, tmp_path / "a[" / "b]")
    code, said = verified(tmp_path / "a[" / "b]", capsys)
    assert code == 0
    assert "a[/b]" in said


def test_a_run_that_is_being_written_is_not_judged(run, capsys):
    with lock_run(run):
        code, said = verified(run, capsys)
    assert code == errors.LOCKED
    assert f"{run} is written by process" in said


def test_all_runs_below_a_folder_are_verified(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "more" / "run")
    (tmp_path / "more" / "run" / "checkpoints" / "4" / "integrity.json").write_text("")
    code, said = verified(tmp_path, capsys)
    assert code == errors.CHECKPOINT
    assert said.count("config.json") == 2
    assert str(tmp_path / "more" / "run" / "checkpoints" / "4") in said
