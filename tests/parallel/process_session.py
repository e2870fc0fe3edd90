"""One of several processes that check each other; the last stage ends with the loss of one.

    python process_session.py COORDINATOR COUNT PROCESS FOLDER [STAGE]

Each process writes what it found to FOLDER/PROCESS.json before the last stage: `kill`, where
process 1 kills itself; `kill_first`, where process 0 does; `stop`, where process 1 stops; `stall`,
where both make no progress; or `end`.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rnnlab.errors import CheckpointError, CorruptCheckpointError, PeerLostError, RunLockedError
from rnnlab.parallel import agreement, digest, processes, watch
from rnnlab.runs.checkpoints.store import CheckpointStore
from rnnlab.runs.lock import lock_run

COLUMNS, ROWS, WHOLE = PartitionSpec(None, "p"), PartitionSpec("p"), PartitionSpec()


def spread(x, spec):
    """A host array as an array over all processes."""
    mesh = Mesh(np.array(jax.devices()), ("p",))
    sharding = NamedSharding(mesh, spec)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def tree(spec=ROWS, seed=0):
    """A state: divided and replicated arrays, a typed key, and numbers of the host."""
    draw = np.random.default_rng(seed)
    count = 4 * jax.device_count()
    return {
        "cut": spread(draw.standard_normal((count, count)).astype(np.float32), spec),
        "half": spread(draw.standard_normal((count,)).astype(np.float16), WHOLE),
        "key": jax.random.wrap_key_data(spread(np.array([seed, 7], np.uint32), WHOLE)),
        "seconds": np.array(1.5 + processes.process_index()),
    }


def parts(state):
    """The parts of a state that this process holds, as bytes."""
    found = {}
    for name, x in state.items():
        x = jax.random.key_data(x) if name == "key" else x
        shards = [np.asarray(x)] if isinstance(x, np.ndarray) else local(x)
        found[name] = [shard.tobytes().hex() for shard in shards]
    return found


def local(x):
    return [np.asarray(shard.data) for shard in x.addressable_shards]


def raised(call, kind=ValueError):
    try:
        call()
    except kind as error:
        return f"{type(error).__name__}: {error}"
    return None


def fail_in(process, error):
    def call():
        if processes.process_index() == process:
            raise error

    return call


def meet():
    """Returns the values that the processes agree on, and the errors that they share."""
    own = processes.process_index()
    return {
        "agreed": [agreement.agreed(own == 1), agreement.agreed(False)],
        "largest": agreement.largest(10 + own),
        "first": agreement.from_first_process(lambda: [os.getpid(), own]),
        "gathered": agreement.gather(own),
        "nested": agreement.from_first_process(lambda: agreement.from_first_process(lambda: 5)),
        "first fails": raised(
            lambda: agreement.from_first_process(fail_in(0, CheckpointError("no"))), CheckpointError
        ),
        "second fails": raised(
            lambda: agreement.succeed_together(fail_in(1, CheckpointError("nor"))), CheckpointError
        ),
        "same": raised(lambda: agreement.require_same("the versions", {"jax": 1})),
        "other": raised(lambda: agreement.require_same("the versions", {"jax": own})),
        "late": raised(late, PeerLostError) if own == 0 else late(),
    }


def late():
    """Process 0 waits 0.5 s for the others, which come after 2 s."""
    if processes.process_index() == 0:
        agreement.barrier("the meeting", 0.5)
    time.sleep(2)
    agreement.barrier("the meeting")


def check_lock(folder):
    """A run's lock, which the first process holds and a second job does not get."""
    with lock_run(folder / "run"):
        held = (folder / "run" / "run.lock").is_file()
    agreement.barrier("the free lock")
    if processes.process_index() == 0:
        blocker = os.open(folder / "run" / "run.lock", os.O_RDWR)
        import fcntl

        fcntl.flock(blocker, fcntl.LOCK_EX)
    refused = raised(lambda: lock_run(folder / "run").__enter__(), RunLockedError)
    return {"held": held, "refused": refused}


def check_checkpoints(folder):
    """Saved by all, restored with other shardings, and a flipped bit in each process's files."""
    metadata = {"config": {}, "data_fingerprint": ""}
    lines = []
    store = CheckpointStore(folder, metadata, lines.append)
    for step in (1, 2, 3):
        store.save(step, tree(seed=step), best=step == 1)
    found = {
        "steps": store.saved_steps(),
        "same": all(
            parts(store.restore(step, tree(spec)).tree)
            == parts({**tree(spec, step), "seconds": np.array(1.5)})
            for step in (1, 3)
            for spec in (ROWS, COLUMNS, WHOLE)
        ),
        "digests": [
            digest.digests({"cut": tree(spec)["cut"]}) == digest.digests(host())
            for spec in (ROWS, COLUMNS, WHOLE)
        ],
        "flipped": [],
    }
    for process in range(processes.process_count()):
        pattern = f"3/state/**/ocdbt.process_{process}/d/*"
        files = sorted(store.directory.glob(pattern), key=lambda path: path.stat().st_size)
        flip(files[-1])
        said = raised(lambda: store.restore(3, tree()), CorruptCheckpointError)
        found["flipped"].append([str(files[-1]), said])
        flip(files[-1])
    found["again"] = store.restore_latest(tree()).step
    flip(files[-1])
    found["earlier"] = store.restore_latest(tree()).step
    found["lines"] = lines
    return found


def host():
    count = 4 * jax.device_count()
    draw = np.random.default_rng(0).standard_normal((count, count)).astype(np.float32)
    return {"cut": draw}


def flip(path):
    """Flips a bit of a file, by process 0."""

    def change():
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)

    agreement.from_first_process(change)


def end(stage):
    """The last stage: process 1 is lost, and process 0 needs it."""
    own = processes.process_index()
    watch.set_hint("`rnnlab resume RUN` resumes the run")
    if stage == "end":
        time.sleep(own)  # one finishes later than the other
        watch.end_together(0)
        return
    watch.expect_progress(True)
    if (own, stage) in ((1, "kill"), (0, "kill_first")):
        os.kill(os.getpid(), signal.SIGKILL)
    if own == 1 and stage == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if stage == "stall":
        threading.Event().wait()
    while True:
        watch.progress()
        agreement.agreed(False)
        time.sleep(0.05)


def main():
    coordinator, count, process, folder, *stage = sys.argv[1:]
    folder = Path(folder)
    stage = stage[0] if stage else "end"
    stall = 6.0 if stage == "stall" else 600.0
    processes.start_processes(coordinator, int(count), int(process), stall_seconds=stall)
    found = {"pid": os.getpid()}
    if stage in ("end", "kill"):
        found |= meet() | {"lock": check_lock(folder), "checkpoints": check_checkpoints(folder)}
    (folder / f"{process}.json").write_text(json.dumps(found), encoding="utf-8")
    end(stage)


if __name__ == "__main__":
    from rnnlab.cli import main as cli

    try:
        main()
    except Exception as error:
        code, line = cli._exit_code_and_message(error)
        cli._print_line(line)
        watch.end_together(code, line)
