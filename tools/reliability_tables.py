"""Tables of the fault-injection results."""

from rnnlab.records import Record
from rnnlab.tables import Table, device_labels

DESCRIPTIONS = {
    "kills": (
        "SIGKILL at a random moment of a run, in most trials inside a save",
        "every saved step is kept, the resumed run ends with the same bytes",
    ),
    "first_save": (
        "SIGKILL inside the first save",
        "a message that no checkpoint exists, a start from step 0, the same bytes at the end",
    ),
    "deletions": (
        "SIGKILL while an old checkpoint is deleted, file by file",
        "every listed checkpoint is valid, the resumed run ends with the same bytes",
    ),
    "chains": ("two to five SIGKILLs in one run", "the resumed run ends with the same bytes"),
    "flips": (
        "one flipped bit in a file of the newest checkpoint or in a pointer",
        "the error names the file, or the same bytes are restored",
    ),
    "files": (
        "each file of the newest checkpoint emptied, truncated, deleted or overwritten",
        "one line names the step, the previous checkpoint is restored; `--strict` fails",
    ),
    "pointers": (
        "each pointer emptied, truncated, deleted or overwritten",
        "the newest checkpoint is restored without a warning, also with `--strict`",
    ),
    "disk": (
        "full disk at each save, with and without the check of free space, and at metrics writes",
        "exit code 5, every saved step is kept, the resumed run ends with the same bytes",
    ),
    "writers": ("a second writer", "exit code 7 within 2 s, the first process is unaffected"),
    "sigterm": (
        "SIGTERM during import, data loading, compilation, update, evaluation and save",
        "exit code 143, the last step is saved, the resumed run ends with the same bytes",
    ),
    "sigint": (
        "SIGINT during import, data loading, compilation, update, evaluation and save",
        "exit code 130, the last step is saved, the resumed run ends with the same bytes",
    ),
    "second_sigterm": (
        "a second SIGTERM inside a save",
        "the process ends immediately, every saved step is kept",
    ),
    "processes": (
        "SIGKILL of one of two processes at a random moment",
        "the other ends within 60 s with one line and exit code 8, every saved step is kept, the "
        "resumed run ends with the same bytes",
    ),
    "inputs": (
        "invalid input to the command line, and one valid but unusual text",
        "the expected line and exit code; invalid input is rejected within 5 s",
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
