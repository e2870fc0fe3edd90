"""A run that is stopped at any step and resumed equals the uninterrupted run, bit by bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from rnnlab import provenance, records
from rnnlab.errors import CheckpointError, DataError
from rnnlab.models.config import ModelConfig
from rnnlab.runs import api
from rnnlab.runs import api as experiments
from rnnlab.runs.api import Experiment, load_run, load_trained_model, resume
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.store import CheckpointStore
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.runs.signals import StopRequested
from rnnlab.tasks import Adding, Text
from rnnlab.train.callbacks import Reporter
from rnnlab.train.config import TrainConfig

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

GOLDEN = Path(__file__).parent.parent / "data" / "checkpoint_v1"
SMALL = ModelConfig(
    width=4, depth=1, expansion=1, conv_kernel_size=2, mlp_expansion=None, dropout=0.2
)
STEPS = 20
ANYWHERE = ResumePolicy(
    allow_device_change=True, allow_cores_change=True, allow_versions_change=True
)


def stateful(folder):
    """Streams that restart every third step, with early stopping and a plateau schedule."""
    path = folder / "text.txt"
    path.write_text("a quick brown fox. " * 6, encoding="utf-8")
    text = Text(path, length=6, batch_size=4, stateful=True)
    settings = {"schedule": "plateau", "plateau_patience": 1, "patience": 9, "spike_factor": 20.0}
    training = TrainConfig(steps=STEPS, eval_every=3, log_every=2, learning_rate=0.3, **settings)
    return Experiment(text, SMALL, training)


def run(path, experiment, display=None):
    return api.run(path, experiment, display or Reporter())


def stop(at):
    def advance(step, metrics):
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    return Reporter(advance)


def decided(folder):
    """The digests of the last step's leaves, and the metrics without times."""
    leaves = manifest.read_verified_manifest(folder / "checkpoints" / str(STEPS)).leaves
    digests = {name: x["sha256"] for name, x in leaves.items() if "seconds" not in name}
    logged = {
        (row["step"], row.get("set")): {k: v for k, v in row.items() if "second" not in k}
        for row in RunDirectory(folder).read_metrics()
    }
    return digests, logged


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The directory of the uninterrupted run, and its experiment."""
    folder = tmp_path_factory.mktemp("whole")
    experiment = stateful(folder)
    return folder / "run", experiment


@pytest.mark.parametrize(
    "at",
    [pytest.param(k, marks=() if k == 18 else pytest.mark.slow) for k in range(1, 20)],
)
def test_run_stopped_at_a_step_resumes_bit_by_bit(whole, tmp_path, at):
    unbroken, experiment = whole
    if not unbroken.exists():
        run(unbroken, experiment)
    with pytest.raises(StopRequested):
        run(tmp_path / "run", experiment, stop(at))
    assert max(CheckpointStore(tmp_path / "run", {}).saved_steps()) == at
    resume(tmp_path / "run", Reporter())
    assert decided(tmp_path / "run") == decided(unbroken)


@pytest.fixture
def golden(tmp_path):
    """A run of 4 steps, made on 2 cores with other versions."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "run"))


def set_environment(monkeypatch, golden, **changes):
    """Give this process the environment of the golden run, except for some changes."""
    body = json.loads((golden / "checkpoints" / "4" / "integrity.json").read_text())
    made = body["about"]
    same = {name: made[name] for name in ("cores", "processor", "python", "versions")}
    now = {"device": "cpu", **same, **changes}
    monkeypatch.setattr(experiments, "environment", lambda device: now)
    return made


def test_resume_on_other_cores_is_an_error_unless_allowed(golden, monkeypatch):
    set_environment(monkeypatch, golden, cores=7)
    with pytest.raises(CheckpointError, match=r"cores must be 2, .* got 7.*set NPROC=2"):
        resume(golden, Reporter())
    assert not (golden / "result.json").exists()
    resume(golden, Reporter(), ResumePolicy(allow_cores_change=True))
    logged = list(records.read(golden / "metrics.jsonl"))
    assert [row["cores"] for row in logged if "resumed_from" in row] == [7]


@pytest.mark.parametrize("other", [{"processor": "another"}, {"device": "A GPU"}])
def test_resume_on_another_device_is_an_error_unless_allowed(golden, monkeypatch, other):
    made = set_environment(monkeypatch, golden, **other)
    (name,) = other.values()
    with pytest.raises(
        CheckpointError, match=rf"device must be {made['processor']}, .* got {name}"
    ):
        resume(golden, Reporter())
    resume(golden, Reporter(), ResumePolicy(allow_device_change=True))
    logged = list(records.read(golden / "metrics.jsonl"))
    assert [row | other for row in logged if "resumed_from" in row] == logged[-1:]


def test_resume_with_other_versions_is_an_error_unless_allowed(golden, monkeypatch):
    made = set_environment(monkeypatch, golden)
    set_environment(monkeypatch, golden, versions=made["versions"] | {"jax": "9.9", "torch": "0"})
    with pytest.raises(CheckpointError, match=r"jax must be 0\.10\.2, .* got 9\.9"):
        resume(golden, Reporter())
    resume(golden, Reporter(), ResumePolicy(allow_versions_change=True))


def test_cpu_count_follows_nproc(monkeypatch):
    monkeypatch.setenv("NPROC", "3")
    assert provenance.cpu_count() == 3
    for value in ("", "0", "x", "-1"):
        monkeypatch.setenv("NPROC", value)
        assert provenance.cpu_count() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [
        ("train", "seed", 1),
        ("data", "batch_size", 8),
        ("data", "length", 9),
        ("train", "learning_rate", 0.5),
        ("train", "steps", 40),
    ],
)
def test_resume_with_other_settings_names_the_setting(golden, part, setting, value):
    path = golden / "config.json"
    settings = json.loads(path.read_text())
    settings[part][setting] = value
    path.write_text(json.dumps(settings), encoding="utf-8")
    # Generated data depends on its settings, so that its fingerprint differs first.
    with pytest.raises(CheckpointError, match=rf"{setting} .*got {value}|has changed"):
        resume(golden, Reporter(), ANYWHERE)
    with pytest.raises(CheckpointError, match=rf"{setting} .*got {value}|has changed"):
        load_trained_model(golden)


def test_resume_with_a_corrupt_best_step_chooses_a_new_one(tmp_path):
    experiment = Experiment(
        Adding(length=8, batch_size=4, evaluation_size=8),
        SMALL,
        TrainConfig(steps=6, eval_every=2, learning_rate=1e-12),
    )
    with pytest.raises(StopRequested):
        run(tmp_path / "run", experiment, stop(5))
    folder, lines = tmp_path / "run", []
    checkpoints = CheckpointStore(folder, {})
    lost = checkpoints.best_step()
    assert lost < 5
    (checkpoints.directory / str(lost) / "manifest.json").unlink()
    result = resume(folder, Reporter(log=lines.append))
    assert any(f"the best checkpoint, step {lost}, is corrupt" in line for line in lines)
    assert result["best_step"] == 6
    assert load_trained_model(folder)


MUTANTS = {"config.json", "environment.json", "latest.json", "best.json", "metrics.jsonl"}


def mutated(raw, rng):
    """Bytes with a few of them changed, removed, doubled or inserted."""
    raw = bytearray(raw)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(raw) + 1))
        kind = rng.integers(5)
        if kind == 0 and at < len(raw):
            raw[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del raw[at : at + int(rng.integers(1, 40))]
        elif kind == 2:
            raw[at:at] = raw[at : at + int(rng.integers(1, 40))]
        elif kind == 3:
            raw[at:at] = rng.bytes(int(rng.integers(1, 9)))
        else:
            word = (b"null", b"-1", b"1e999", b"[[[[", b'"', b"{}", b"NaN")[int(rng.integers(7))]
            raw[at : at + len(word)] = word
    return bytes(raw)


@pytest.mark.parametrize("mutants", [200, pytest.param(20_000, marks=pytest.mark.slow)])
def test_mutated_files_raise_only_our_errors(golden, mutants):
    """Mutated settings, pointers, records and manifests raise a ValueError, or nothing."""
    rng = np.random.default_rng(0)
    like = CheckpointStore(golden, {})
    leaves = manifest.read_verified_manifest(like.directory / "4").leaves
    wanted = {name: np.zeros(x["shape"], x["dtype"]) for name, x in leaves.items()}
    files = [golden / name for name in sorted(MUTANTS)] + [like.directory / "4" / "integrity.json"]
    refused = 0
    for trial in range(mutants):
        file = files[trial % len(files)]
        raw = file.read_bytes()
        file.write_bytes(mutated(raw, rng))
        try:
            load_run(golden)[0].read_environment()
            list(records.read(golden / "metrics.jsonl"))
            CheckpointStore(golden, {}, lambda line: None).restore_latest(wanted)
        except (ValueError, UserWarning):
            refused += 1
        finally:
            file.write_bytes(raw)
    assert refused > mutants / 10


APPEND = """
import sys
from pathlib import Path
from rnnlab import records
from rnnlab.atomic_io import write_json
for k in range(10**9):
    records.append(Path(sys.argv[1]) / "rows.jsonl", {"k": k, "text": "x" * (k % 3000)})
    write_json(Path(sys.argv[1]) / "latest.json", {"step": k})
    print(k, flush=True)
"""


@pytest.mark.parametrize("trials", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_sigkill_while_writing_keeps_acknowledged_records_and_pointers(tmp_path, trials):
    """Acknowledged records are kept; only the last line may be torn; the pointer never is."""
    rng = np.random.default_rng(0)
    for trial in range(trials):
        folder = tmp_path / str(trial)
        folder.mkdir()
        command = [sys.executable, "-c", APPEND, str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        threading.Event().wait(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        acknowledged = process.communicate()[0].split()
        last = int(acknowledged[-1]) if acknowledged else 0
        records.append(folder / "rows.jsonl", {"k": -1})  # removes a torn line
        found = [row["k"] for row in records.read(folder / "rows.jsonl")]
        assert found[:-1] == list(range(len(found) - 1))
        assert len(found) - 1 > last
        step = json.loads((folder / "latest.json").read_text())["step"]
        assert last <= step <= len(found) - 1


def test_reader_never_sees_an_unfinished_step(lab, tmp_path):
    """Checkpoints are read while a run writes and deletes them."""
    process = lab.run(tmp_path)
    folder = tmp_path / "cell=mingru,seed=0"
    leaves = manifest.read_verified_manifest(lab.reference_run / "checkpoints" / "12").leaves
    like = {name: np.zeros(x["shape"], x["dtype"]) for name, x in leaves.items()}
    seen, lines = set(), []
    while process.poll() is None:
        restored = CheckpointStore(folder, {}, lines.append).restore_latest(like)
        if restored is None:
            time.sleep(0.02)  # the process still imports
        else:
            seen.add(restored.step)
    assert lab.wait(process).code == 0
    assert lines == []
    assert len(seen) >= 3


@pytest.mark.parametrize("mutants", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_mutated_texts_raise_an_error_of_one_line(tmp_path, mutants):
    """Random bytes and broken UTF-8 as a text to train on."""
    rng = np.random.default_rng(0)
    file, messages = tmp_path / "a.txt", []
    good = "a quick brown fox. " * 30
    for _ in range(mutants):
        file.write_bytes(mutated(good.encode(), rng))
        try:
            Text(file, length=8, batch_size=4).load(0)
        except DataError as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in line for line in messages)
