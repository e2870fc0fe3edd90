"""The place of this process among several: from flags, variables or the cluster's scheduler."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COORDINATOR, PROCESSES, PROCESS = (
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
)
"""Environment variables with the meaning of --coordinator, --processes and --process."""

SLURM = "SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"
OPEN_MPI = "OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"
TPU_POD = "TPU_WORKER_HOSTNAMES", "TPU_WORKER_ID"
"""Variables from which JAX detects a cluster."""


@dataclass(frozen=True)
class Cluster:
    """The place of this process.

    Attributes:
      source: where the place was found, for the reader.
      coordinator, processes, process: as in `start_processes`; None where JAX detects it.
      num_processes: number of processes.
      number: number of this process.
    """

    source: str
    coordinator: str | None
    processes: int | None
    process: int | None
    num_processes: int
    number: int

    @property
    def description(self) -> str:
        """The place in one line."""
        at = f", coordinator {self.coordinator}" if self.coordinator else ""
        return f"process {self.number} of {self.num_processes}, from {self.source}{at}"


def find_cluster(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Cluster | None:
    """Returns the place of this process among several; None if it is the only one.

    Args:
      coordinator, processes, process: flags, which take precedence over everything else.
      variables: the environment; None: that of this process.

    Raises:
      ValueError: a part of the place is missing, not a number or out of range.

    >>> find_cluster(variables={}) is None
    True
    >>> find_cluster(variables=dict.fromkeys(SLURM, "2") | {"SLURM_PROCID": "1"}).description
    'process 1 of 2, from SLURM'
    """
    found = os.environ if variables is None else variables
    given: dict[str, Any] = {
        "--coordinator": coordinator or found.get(COORDINATOR) or None,
        "--processes": _number(PROCESSES, found) if processes is None else processes,
        "--process": _number(PROCESS, found) if process is None else process,
    }
    explicit = all(value is not None for value in given.values())
    source, count, index = "flags and variables", given["--processes"], given["--process"]
    if not explicit:
        detected = _detect(found)
        if detected is None:
            missing = [name for name, value in given.items() if value is None]
            if len(missing) == len(given) or (
                missing == ["--coordinator", "--process"] and count == 1
            ):
                return None
            raise ValueError(
                f"{', '.join(given)} must be given together where no cluster is detected, got none "
                f"of {', '.join(missing)}; add {missing[0]}"
            )
        source = detected[0]
        count, index = (
            new if old is None else old
            for old, new in zip((count, index), detected[1:], strict=True)
        )
    if count < 1:
        raise ValueError(f"--processes must be >= 1, got {count}; change --processes")
    if not 0 <= index < count:
        raise ValueError(
            f"--process must be from 0 to {count - 1}, one less than --processes, got {index}; "
            "change --process"
        )
    if given["--coordinator"] is not None:
        _, _, port = given["--coordinator"].rpartition(":")
        if not port.isdecimal():
            raise ValueError(
                f"--coordinator must be HOST:PORT, got {given['--coordinator']!r}; add a port that "
                "is free on the host of process 0"
            )
    return Cluster(source, *given.values(), count, index) if count > 1 else None


def _detect(variables: Mapping[str, str]) -> tuple[str, int, int] | None:
    """Returns name, number of processes and number of this one, of the cluster that JAX detects."""
    if all(name in variables for name in SLURM):
        return "SLURM", int(variables[SLURM[2]]), int(variables[SLURM[3]])
    if all(name in variables for name in OPEN_MPI):
        return "Open MPI", int(variables[OPEN_MPI[1]]), int(variables[OPEN_MPI[2]])
    hosts = variables.get(TPU_POD[0], "").split(",")
    if len(hosts) > 1 and variables.get(TPU_POD[1], "").isdecimal():
        return "the TPU pod", len(hosts), int(variables[TPU_POD[1]])
    return None


def _number(name: str, variables: Mapping[str, str]) -> int | None:
    text = variables.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise ValueError(f"the variable {name} must be a whole number, got {text!r}; change it")
    return int(text)
