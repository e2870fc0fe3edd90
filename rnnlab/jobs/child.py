"""The function that submitit runs in a job: a command of rnnlab as a child process.

The module is imported in the job before the child starts, so it imports neither JAX nor submitit.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.1
IGNORED = 'trap "" USR1 USR2; exec "$@"'
"""Shell command that starts the child deaf to the signals by which SLURM announces the end of a
job. SLURM sends them to all processes of the job, and by default they end a process."""


class Child:
    """Runs `rnnlab` with some words, and stops it before the job ends so that it can resume.

    Args:
      words: the words after `rnnlab`.
      pid_file: file that holds the process number while the child runs.
      environment: changed environment variables of the child; None removes one.
    """

    def __init__(
        self,
        words: Sequence[str],
        pid_file: Path,
        environment: Mapping[str, str | None] | None = None,
    ):
        self.words = list(words)
        self.pid_file = pid_file
        self.environment = dict(environment or {})
        self._process: subprocess.Popen | None = None
        self._code: int | None = None

    def __call__(self) -> int:
        """Runs the command. Returns its exit code; a negative one is the signal that ended it."""
        environment = {**os.environ, **self.environment}
        environment = {name: value for name, value in environment.items() if value is not None}
        command = ["sh", "-c", IGNORED, "sh", sys.executable, "-m", "rnnlab.cli.main", *self.words]
        # In a session of its own: Ctrl-C in a terminal reaches the job, which sends the child one
        # signal. A second one would end it before it has saved.
        self._process = subprocess.Popen(command, env=environment, start_new_session=True)
        self.pid_file.write_text(str(self._process.pid), encoding="utf-8")
        # Another thread waits: the handler of a signal interrupts this one, and would wait for a
        # lock that `Popen.wait` holds here.
        threading.Thread(target=self._wait, daemon=True).start()
        try:
            return self._exit_code()
        except KeyboardInterrupt:
            self._stop()
            raise

    def checkpoint(self) -> Any:
        """Stops the child, which saves its state. Returns the submission that resumes it.

        submitit calls it before the time of a job is over or when the job is preempted.
        """
        from submitit.helpers import DelayedSubmission

        self._stop()
        return DelayedSubmission(Child(self.words, self.pid_file, self.environment))

    def __getstate__(self) -> dict[str, Any]:
        """Returns what is pickled: all but the process."""
        return {**self.__dict__, "_process": None, "_code": None}

    def _wait(self) -> None:
        code = self._process.wait()
        self.pid_file.unlink(missing_ok=True)
        self._code = code

    def _exit_code(self) -> int:
        while self._code is None:
            time.sleep(POLL_SECONDS)
        return self._code

    def _stop(self) -> int:
        """Sends SIGTERM to the child and waits until it has saved its state."""
        if self._code is None:
            self._process.terminate()
        return self._exit_code()
