"""Tables of the fault-injection results."""

from rnnlab.records import Record
from rnnlab.tables import Table, device_labels

DESCRIPTIONS = {
    "kills": (
        "SIGKILL at a random moment of a run, most of them inside a save",
        "resumes, keeps every saved step, ends with the undisturbed run's bytes",
    ),
    "first_save": (
        "SIGKILL inside the first save",
        "reports that there is no checkpoint, starts again, ends with the same bytes",
    ),
    "deletions": (
        "SIGKILL while an old checkpoint is deleted, file by file",
        "every listed checkpoint is valid, ends with the same bytes",
    ),
    "chains": ("two to five SIGKILLs in one run", "ends with the same bytes"),
    "flips": (
        "one flipped bit in a file of the newest checkpoint or in a pointer; read in one process",
        "detected and named, or restored to the same bytes",
    ),
    "files": (
        "each file of the newest checkpoint emptied, truncated, deleted or overwritten; read in "
        "one process, some by `rnnlab resume`",
        "one line names the step, the previous one is restored; `--strict` fails",
    ),
    "pointers": (
        "each pointer emptied, truncated, deleted or overwritten; read in one process",
        "the newest checkpoint is restored without a warning, also with `--strict`",
    ),
    "disk": (
        "full disk at each save, checked before or not, and at records of metrics",
        "exit code 5, nothing lost, ends with the same bytes once space is free",
    ),
    "writers": ("a second writer", "exit code 7 within 2 s, the first process is not disturbed"),
    "sigterm": (
        "SIGTERM during import, data loading, compilation, update, evaluation and save",
        "exit code 143, the last step is saved, ends with the same bytes",
    ),
    "sigint": (
        "SIGINT during import, data loading, compilation, update, evaluation and save",
        "exit code 130, the last step is saved, ends with the same bytes",
    ),
    "second_sigterm": ("a second SIGTERM inside a save", "exits immediately, nothing lost"),
    "inputs": (
        "wrong input to the command line, and one text that is only unusual",
        "the expected line and exit code; wrong input is rejected within 5 s",
    ),
}


def table(measured: list[Record]) -> Table:
    """Returns one table row per kind of fault."""
    headings = ("part", "fault", "expected", "trials", "inside", "failures")
    lines = [
        (
            f"`{row['part']}`",
            *DESCRIPTIONS[row["part"]],
            f"{row['trials']:,}",
            str(row.get("inside", "")),
            str(row["failures"]),
        )
        for row in sorted(measured, key=lambda row: list(DESCRIPTIONS).index(row["part"]))
    ]
    return Table(device_labels(measured), headings, lines, frozenset())


def inputs_table(measured: list[Record]) -> Table:
    """Returns one table row per wrong input, with the message of the process."""
    headings = ("input", "exit code", "error message", "seconds")
    lines = [
        (
            row["case"],
            str(row["code"]),
            truncate(row["said"]) if row["code"] else "",
            f"{row['seconds']:.1f}" if row["code"] else "",
        )
        for row in measured
    ]
    return Table(device_labels(measured), headings, lines, frozenset())


def truncate(message: str) -> str:
    """Returns a message of the command without its prefix, shortened for a table."""
    line = message.removeprefix("rnnlab: ").removeprefix("error: ").replace("`", "")
    return f"`{line[:150]}{'…' if len(line) > 150 else ''}`" if line else ""
