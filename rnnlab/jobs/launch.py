"""Submit jobs, retry failed ones, and wait for all of them."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rnnlab import errors
from rnnlab.atomic_io import mkdir_durable, read_json, write_json
from rnnlab.jobs.child import Child
from rnnlab.optional import require_module

CLUSTERS = ("local", "slurm")
JOBS_FILE = "jobs.json"
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
FINAL_ERRORS = {errors.USAGE_ERROR, errors.DATA, errors.CHECKPOINT, errors.DIVERGED}
"""Exit codes of commands that fail again: they are not retried."""
MAX_TIMEOUTS = 1000
"""Times that a job may reach the limit of its time and continue in another one."""
POLL_SECONDS = 0.2
STOP_SECONDS = 120
"""Seconds that stopped children may take to save their state."""


@dataclass(frozen=True)
class Resources:
    """The resources that a job asks for.

    Attributes:
      cluster: "local" runs jobs as processes of this machine, "slurm" submits them with sbatch.
      nodes: number of machines of a job; 1 on "local".
      tasks_per_node: processes of a job on each machine; 1 on "local".
      time: limit in minutes. The command is stopped before it, and continues in a new job.
      partition: partition of SLURM.
      gpus_per_node: GPUs of a job on each machine; None leaves them as they are.
      cpus_per_task: cores of a process.
      memory: memory of a job on each machine in GB.
      setup: shell commands that a job of SLURM executes first.
      options: further options of sbatch by name.
      signal_seconds: seconds before the end of a job of SLURM at which the command is stopped.

    Raises:
      ValueError: a number is out of range, or the cluster lacks an option.
    """

    cluster: Literal["local", "slurm"] = "local"
    nodes: int = 1
    tasks_per_node: int = 1
    time: int = 60
    partition: str | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    memory: float | None = None
    setup: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    signal_seconds: int = 120

    def __post_init__(self) -> None:
        if self.cluster not in CLUSTERS:
            raise ValueError(f"cluster must be one of {', '.join(CLUSTERS)}, got {self.cluster!r}")
        for name in ("nodes", "tasks_per_node", "time", "gpus_per_node", "cpus_per_task", "memory"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                flag = f"--{name.replace('_', '-')}"
                raise ValueError(f"{name} must be > 0, got {value}; change {flag}")
        if self.cluster == "slurm":
            return
        fixed = {"nodes": 1, "tasks_per_node": 1, "partition": None, "cpus_per_task": None}
        for name, value in {**fixed, "memory": None, "setup": (), "options": {}}.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"{name} needs cluster slurm, got {getattr(self, name)!r} with local; remove "
                    "it, or add --cluster slurm"
                )


@dataclass
class Job:
    """A job and its state.

    Attributes:
      name: name of the job.
      words: the words after `rnnlab`.
      state: "waiting", "running", "done" or "failed".
      attempts: number of submissions so far.
      code: exit code of the command; None if the job ended without one.
      handle: submitit's job.
    """

    name: str
    words: Sequence[str]
    state: str = WAITING
    attempts: int = 0
    code: int | None = None
    handle: Any = None
    slot: int = 0

    @property
    def id(self) -> str:
        """The cluster's name of the job, empty before it is submitted."""
        return "" if self.handle is None else str(self.handle.job_id)

    def last_line(self) -> str:
        """Returns the last line that the command has written."""
        if self.handle is None:
            return ""
        for path in (self.handle.paths.stderr, self.handle.paths.stdout):
            with suppress(OSError):
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                shown = [line for line in lines if line.strip() and not line.startswith("submitit")]
                if shown:
                    return shown[-1].strip()
        return ""


class Launcher:
    """Submits commands of rnnlab as jobs. Needs the extra `launch`.

    Args:
      folder: directory of the jobs' logs, which all machines must see.
      resources: what each job asks for.
      retries: times that a failed job is submitted again. Errors of usage, of data and of
        checkpoints and a training that diverges are not retried.
      parallel: most jobs at the same time; None is 1 on this machine and all on a cluster.

    Raises:
      ValueError: submitit is not installed, an option is invalid, or SLURM is missing.
    """

    def __init__(
        self,
        folder: Path,
        resources: Resources,
        *,
        retries: int = 2,
        parallel: int | None = None,
    ):
        for name, value, least in (("retries", retries, 0), ("parallel", parallel, 1)):
            if value is not None and value < least:
                raise ValueError(f"{name} must be >= {least}, got {value}; change --{name}")
        submitit = require_module("submitit", "launch")
        if resources.cluster == "slurm":
            for program in ("sbatch", "srun"):
                if shutil.which(program) is None:
                    raise ValueError(
                        f"cluster slurm needs {program} on the PATH, and it is missing; use a "
                        "machine of the cluster, or --cluster local"
                    )
        self.folder = folder.absolute()
        self.resources, self.retries = resources, retries
        self.parallel = parallel or (1 if resources.cluster == "local" else None)
        mkdir_durable(self.folder)
        kind = {"local": submitit.LocalExecutor, "slurm": submitit.SlurmExecutor}
        self._executor = kind[resources.cluster](self.folder, max_num_timeout=MAX_TIMEOUTS)
        self._executor.update_parameters(**self._parameters())
        self._submission_errors = (
            submitit.core.utils.FailedJobError,
            submitit.core.utils.FailedSubmissionError,
            subprocess.CalledProcessError,
            OSError,
        )

    def run(
        self,
        commands: Mapping[str, Sequence[str]],
        show: Callable[[Sequence[Job]], None] = lambda jobs: None,
    ) -> list[Job]:
        """Submits commands and waits for them. Returns the jobs.

        An exception, as of Ctrl-C, stops the jobs on this machine, which save their state. Jobs on
        a cluster continue; a later call with the same folder waits for them.

        Args:
          commands: the words after `rnnlab`, by the name of the job.
          show: called with all jobs several times per second.

        Raises:
          ValueError: the cluster rejects a job.
        """
        jobs = [Job(name, words) for name, words in commands.items()]
        try:
            if self.resources.cluster == "slurm":
                self._attach(jobs)
            while True:
                self._submit(jobs)
                show(jobs)
                if all(job.state in (DONE, FAILED) for job in jobs):
                    return jobs
                time.sleep(POLL_SECONDS)
                for job in jobs:
                    if job.state == RUNNING and job.handle.done():
                        self._end(job)
        except BaseException:
            if self.resources.cluster == "local":
                self._stop(jobs)
            raise

    def _parameters(self) -> dict[str, Any]:
        """Returns the resources by submitit's names."""
        asked = self.resources
        if asked.cluster == "local":
            return {"timeout_min": asked.time, "gpus_per_node": asked.gpus_per_node or 0}
        found = {
            "job_name": "rnnlab",
            "time": asked.time,
            "nodes": asked.nodes,
            "ntasks_per_node": asked.tasks_per_node,
            "partition": asked.partition,
            "gpus_per_node": asked.gpus_per_node,
            "cpus_per_task": asked.cpus_per_task,
            "mem": None if asked.memory is None else f"{asked.memory:g}GB",
            "setup": list(asked.setup) or None,
            "signal_delay_s": asked.signal_seconds,
            "additional_parameters": dict(asked.options) or None,
            "array_parallelism": self.parallel,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _submit(self, jobs: Sequence[Job]) -> None:
        """Submits the jobs that wait, as many as may run."""
        running = [job for job in jobs if job.state == RUNNING]
        waiting = [job for job in jobs if job.state == WAITING]
        if self.parallel is not None:
            waiting = waiting[: max(0, self.parallel - len(running))]
        if not waiting:
            return
        try:
            if self.resources.cluster == "local":
                slots = set(range(self.parallel)) - {job.slot for job in running}
                for job, slot in zip(waiting, sorted(slots), strict=False):
                    job.slot = slot
                    self._submit_local(job)
            else:
                with self._executor.batch():  # one array of jobs
                    for job in waiting:
                        job.handle = self._executor.submit(self._child(job))
        except self._submission_errors as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{self.resources.cluster} must accept the job {waiting[0].name}, and does not: "
                f"{reason}; change its options"
            ) from None
        for job in waiting:
            job.state, job.attempts, job.code = RUNNING, job.attempts + 1, None
        write_json(self.folder / JOBS_FILE, {job.name: job.id for job in jobs if job.id})

    def _submit_local(self, job: Job) -> None:
        """Starts a job on this machine, with GPUs of its own if it asks for some."""
        count = self.resources.gpus_per_node
        if count is not None:
            gpus = tuple(range(job.slot * count, (job.slot + 1) * count))
            self._executor.update_parameters(visible_gpus=gpus)
        with _ignored_interrupts():
            job.handle = self._executor.submit(self._child(job))

    def _child(self, job: Job) -> Child:
        environment: dict[str, str | None] = {}
        if self.resources.cluster == "local" and self.resources.gpus_per_node is None:
            # submitit hides all GPUs from a local job that asks for none.
            environment["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES")
        pid_file = self._pid_file(job)
        pid_file.unlink(missing_ok=True)  # of a job that was killed
        return Child(job.words, pid_file, environment)

    def _pid_file(self, job: Job) -> Path:
        return self.folder / f"{re.sub(r'[^A-Za-z0-9._=,+-]', '_', job.name)}.pid"

    def _attach(self, jobs: Sequence[Job]) -> None:
        """Gives jobs that an earlier call has submitted their handles, unless they have failed."""
        path = self.folder / JOBS_FILE
        known = read_json(path) if path.exists() else {}
        count = self.resources.nodes * self.resources.tasks_per_node
        for job in jobs:
            if job.name in known:
                handle = self._executor.job_class(self.folder, known[job.name], range(count))
                if not handle.done() or self._exit_code(handle) == 0:
                    job.handle, job.state, job.attempts = handle, RUNNING, 1

    def _end(self, job: Job) -> None:
        """Sets the state of a job that has ended: done, failed, or waiting for another attempt."""
        job.code = self._exit_code(job.handle)
        if job.code == 0:
            job.state = DONE
        elif job.code in FINAL_ERRORS or job.attempts > self.retries:
            job.state = FAILED
        else:
            job.state = WAITING

    def _exit_code(self, handle: Any) -> int | None:
        """Returns the first exit code of a job's processes that is not 0, or None without one."""
        tasks = [handle.task(k) for k in range(handle.num_tasks)]
        if not all(task.paths.result_pickle.exists() for task in tasks):
            return None
        try:
            return next((code for code in handle.results() if code), 0)
        except Exception:  # the job's own, of any type
            return None

    def _stop(self, jobs: Sequence[Job]) -> None:
        """Stops the jobs on this machine and waits until their commands have saved their state."""
        running = [job for job in jobs if job.state == RUNNING]
        signalled: set[str] = set()
        end = time.monotonic() + STOP_SECONDS
        while any(not job.handle.done() for job in running) and time.monotonic() < end:
            for job in running:
                # One signal each: a second one ends a command before it has saved.
                if job.name not in signalled:
                    with suppress(OSError, ValueError):
                        os.kill(
                            int(self._pid_file(job).read_text(encoding="utf-8")), signal.SIGTERM
                        )
                        signalled.add(job.name)
            time.sleep(POLL_SECONDS)


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Starts processes that Ctrl-C in the terminal does not reach, as they inherit what is ignored.

    The launcher receives it, and stops their commands.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
