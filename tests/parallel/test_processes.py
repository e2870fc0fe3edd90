"""Several processes on one machine: what they agree on, store together, and how they end."""

import numpy as np
import pytest
from faults.process_harness import found_in, session

from rnnlab.errors import PEER_LOST, STALLED
from rnnlab.parallel import cluster
from rnnlab.parallel.cluster import find_cluster

slow = pytest.mark.slow
HINT = "`rnnlab resume RUN` resumes the run"


@pytest.fixture(scope="module")
def met(tmp_path_factory):
    """The findings of two processes, and how the first ended after the second killed itself."""
    folder = tmp_path_factory.mktemp("session")
    ended = session(folder, "kill").wait()
    return found_in(folder), ended


def test_processes_agree_on_flags_and_values(met):
    for index, found in enumerate(met[0]):
        assert found["agreed"] == [True, False]
        assert found["largest"] == 11
        assert found["first"] == [met[0][0]["pid"], 0]
        assert found["gathered"] == [0, 1]
        assert found["nested"] == 5
        assert found["same"] is None, index


def test_error_of_one_process_is_raised_in_all(met):
    for found in met[0]:
        assert found["first fails"] == "CheckpointError: no"
        assert found["second fails"] == "CheckpointError: nor"
        assert "the versions must be the same in all processes" in found["other"]
        assert "in process 1; start all processes alike" in found["other"]


def test_barrier_names_the_process_that_is_late(met):
    assert "process 1 of 2 must come to the meeting in time" in met[0][0]["late"]
    assert met[0][1]["late"] is None


def test_lock_of_a_run_is_held_by_the_first_and_refuses_all(met):
    for found in met[0]:
        assert found["lock"]["held"]
        assert f"is locked by process {met[0][0]['pid']}" in found["lock"]["refused"]
    assert met[0][0]["lock"] == met[0][1]["lock"]


def test_checkpoint_of_all_processes_is_restored_with_any_sharding(met):
    for found in met[0]:
        assert found["checkpoints"]["steps"] == [1, 2, 3]
        assert found["checkpoints"]["same"]


def test_digest_is_that_of_the_host_array_with_any_sharding(met):
    for found in met[0]:
        assert found["checkpoints"]["digests"] == [True, True, True]


def test_flipped_bit_in_any_process_file_is_named_and_the_previous_step_restored(met):
    first = met[0][0]["checkpoints"]
    assert [f"ocdbt.process_{k}" in file for k, (file, _) in enumerate(first["flipped"])] == [1, 1]
    for found in met[0]:
        for (file, _), (_, said) in zip(
            first["flipped"], found["checkpoints"]["flipped"], strict=True
        ):
            assert said == f"CorruptCheckpointError: {file} differs from what was written"
        assert (found["checkpoints"]["again"], found["checkpoints"]["earlier"]) == (3, 2)
        assert "resuming from step 2" in found["checkpoints"]["lines"][-1]


def test_killed_process_ends_the_other_with_one_line(met):
    first, second = met[1]
    assert (first.code, second.code) == (PEER_LOST, -9)
    assert first.at - second.at < 60
    (line,) = first.lines
    assert line.startswith("rnnlab: error: ")
    assert line.endswith(HINT)


@slow
@pytest.mark.parametrize("stage", ["kill_first", "stop"])
def test_lost_process_ends_the_other_with_one_line(tmp_path, stage):
    job = session(tmp_path, stage)
    (left,) = job.wait(1 if stage == "kill_first" else 0)
    job.kill()
    assert left.code == PEER_LOST
    (line,) = left.lines
    assert line.endswith(HINT)


@slow
def test_processes_without_progress_end_with_a_code_of_their_own(tmp_path):
    for ended in session(tmp_path, "stall").wait():
        assert ended.code == STALLED
        assert "has made no progress for 6 s, since the start" in ended.lines[0]
        assert "raise --stall-seconds" in ended.lines[0]


@slow
def test_processes_that_finish_at_different_times_succeed(tmp_path):
    ended = session(tmp_path, "end", count=4).wait()
    assert [end.code for end in ended] == [0] * 4, ended
    for found in found_in(tmp_path, 4):
        assert found["checkpoints"]["same"]
        assert found["checkpoints"]["digests"] == [True] * 3


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[3-4]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}


@pytest.mark.parametrize(
    ("flags", "variables", "place"),
    [
        ((None, None, None), {}, None),
        ((None, 1, None), {}, None),
        ((None, None, None), SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, None),
        ((None, None, None), SLURM, ("SLURM", None, 4, 2)),
        (("host:1", None, None), SLURM, ("SLURM", "host:1", 4, 2)),
        (("host:1", 2, 1), {}, ("flags and variables", "host:1", 2, 1)),
        (
            (None, None, None),
            {cluster.COORDINATOR: "h:2", cluster.PROCESSES: "3", cluster.PROCESS: "0"},
            ("flags and variables", "h:2", 3, 0),
        ),
        (
            (None, None, None),
            {"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"},
            ("the TPU pod", None, 2, 1),
        ),
    ],
)
def test_place_of_a_process_comes_from_flags_then_variables(flags, variables, place):
    found = find_cluster(*flags, variables)
    if place is None:
        assert found is None
    else:
        assert place == (found.source, found.coordinator, found.num_processes, found.number)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("host:1", 2, None), r"got none of --process; add --process"),
        (("host:1", 2, 2), r"--process must be from 0 to 1.*got 2"),
        (("host", 2, 0), r"--coordinator must be HOST:PORT, got 'host'"),
        (("host:1", 0, 0), r"--processes must be >= 1, got 0"),
    ],
)
def test_invalid_place_of_a_process_is_an_error(flags, message):
    with pytest.raises(ValueError, match=message):
        find_cluster(*flags, {})


def test_digest_changes_in_every_sum_with_any_bit():
    from rnnlab.parallel.digest import digest

    x = np.arange(40, dtype=np.float32)
    before = digest(x)
    for place in range(0, x.nbytes, 7):
        changed = x.copy()
        changed.view(np.uint8)[place] ^= 1 << place % 8
        after = digest(changed)
        pairs = [(before[k : k + 8], after[k : k + 8]) for k in range(0, 32, 8)]
        assert all(one != other for one, other in pairs)
