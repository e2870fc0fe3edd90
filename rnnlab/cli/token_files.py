"""`rnnlab data tokens`: prepare a token file, and verify one."""

from pathlib import Path

from rnnlab.cli.byte_progress import byte_progress
from rnnlab.cli.data_commands import PrepareTokens
from rnnlab.runs.signals import StopRequested
from rnnlab.tables import print_text
from rnnlab.tasks.token_files import open_token_file, prepare_token_file


def prepare(command: PrepareTokens) -> int:
    """Writes a token file and prints what is in it. Returns the exit code.

    Raises:
      DataError: a file is missing, empty or not UTF-8 text.
      InsufficientResourcesError: the token file could not be written.
      ValueError: it exists, or an option does not fit.
      StopRequested: a signal came; nothing is written.
    """
    out = command.out
    try:
        with byte_progress(out.name) as update:
            file = prepare_token_file(
                command.files,
                out,
                by=command.by,
                field=command.field,
                end_token=command.end_token,
                report=lambda what, done, total: update(f"{out.name}: {what}", done, total),
            )
    except StopRequested as stop:
        stop.kept = f"{out} is not written; repeat the command"
        raise
    print_text(f"{out}: {file.header.summary}, {file.size / 1e6:.1f} MB.")
    print_text(f"Train on it: `rnnlab run char_lm --data Tokens --data.path {out}`.")
    return 0


def verify(path: Path) -> None:
    """Compares the content of a token file with its digest, and prints what is in it.

    Raises:
      DataError: it is missing, truncated or changed.
    """
    file = open_token_file(path)
    with byte_progress(path.name) as update:
        file.check_content(lambda done: update(path.name, done, file.size))
    print_text(f"{path}: {file.header.summary}, {file.size / 1e6:.1f} MB, valid.")
