"""Tables of the fault-injection results."""

from rnnlab.records import Record
from rnnlab.tables import Table, device_labels

WORDS = {
    "kills": (
        "SIGKILL at a random moment of a run, most of them inside a save",
        "resumes, keeps what was committed, ends with the undisturbed run's bytes",
    ),
    "first_save": (
        "SIGKILL inside the first save",
        "says that there is no checkpoint, starts anew, ends with the same bytes",
    ),
    "deletions": (
        "SIGKILL while an old step is deleted, file by file",
        "every step that is listed is sound, ends with the same bytes",
    ),
    "chains": ("two to five SIGKILLs in one run", "ends with the same bytes"),
    "flips": (
        "one bit of one file of the newest step, or of a pointer, turned over; read in one process",
        "detected and named, or restored to the very bytes",
    ),
    "files": (
        "each file of the newest step emptied, cut, deleted or overwritten; read in one process, "
        "some by `rnnlab resume`",
        "one line names the step, the one before is taken; `--strict` refuses",
    ),
    "pointers": (
        "each pointer emptied, cut, deleted or overwritten; read in one process",
        "the newest step is taken all the same, without a warning; by `--strict` too",
    ),
    "disk": (
        "the disk full at each save, looked for or not, and at rows of metrics",
        "exit 5, nothing lost, ends with the same bytes once there is room",
    ),
    "writers": ("a second writer", "exit 7 within 2 s, the first goes on undisturbed"),
    "sigterm": (
        "SIGTERM on import, data, compilation, update, evaluation and save",
        "exit 143, the last step committed, ends with the same bytes",
    ),
    "sigint": (
        "SIGINT on import, data, compilation, update, evaluation and save",
        "exit 130, the last step committed, ends with the same bytes",
    ),
    "second_sigterm": ("a second SIGTERM inside a save", "ends at once, nothing lost"),
    "inputs": (
        "bad input to the command line, and one text that is only unusual",
        "the promised line and exit code; bad input is refused within 5 s",
    ),
}


def table(measured: list[Record]) -> Table:
    """A line a kind of fault."""
    headings = ("part", "fault", "has to", "trials", "inside", "failures")
    lines = [
        (
            f"`{row['part']}`",
            *WORDS[row["part"]],
            f"{row['trials']:,}",
            str(row.get("inside", "")),
            str(row["failures"]),
        )
        for row in sorted(measured, key=lambda row: list(WORDS).index(row["part"]))
    ]
    return Table(device_labels(measured), headings, lines, frozenset())


def inputs_table(measured: list[Record]) -> Table:
    """A line a bad input, with what the process said."""
    headings = ("input", "exit code", "the line", "seconds")
    lines = [
        (
            row["case"],
            str(row["code"]),
            shown(row["said"]) if row["code"] else "",
            f"{row['seconds']:.1f}" if row["code"] else "",
        )
        for row in measured
    ]
    return Table(device_labels(measured), headings, lines, frozenset())


def shown(said: str) -> str:
    """A line of the command as it stands in a table: without its beginning, and not too long."""
    line = said.removeprefix("rnnlab: ").removeprefix("error: ").replace("`", "")
    return f"`{line[:150]}{'…' if len(line) > 150 else ''}`" if line else ""
