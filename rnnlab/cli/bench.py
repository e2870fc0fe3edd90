"""`rnnlab speedup` and `rnnlab bench`: run a benchmark with a progress bar, table and figure."""

import sys
from collections.abc import Iterator, Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rnnlab import records
from rnnlab.bench.base import FIGURE_FILE, RECORDS_FILE, Benchmark
from rnnlab.bench.noise import mark_noise, noise_sentence
from rnnlab.console import make_console
from rnnlab.errors import DataError
from rnnlab.plotting import save_figure
from rnnlab.records import Record
from rnnlab.tables import print_table, print_text

INTERRUPTED = 130


def run(benchmark: Benchmark) -> int:
    """Measures with a progress bar, then shows and draws the records, also after an interrupt.

    Returns the exit code.

    Raises:
      ValueError: an option is out of range.
    """
    benchmark.validate()
    measured: list[Record] = []
    code = 0
    try:
        for record in _with_progress(benchmark):
            measured.append(record)
    except KeyboardInterrupt as stop:
        code = getattr(stop, "exit_code", INTERRUPTED)
        print("rnnlab: interrupted; the records measured so far are kept", file=sys.stderr)
    if measured:
        print_table(mark_noise(benchmark.table(measured), measured))
        print_text(benchmark.conclusion(measured))
        if sentence := noise_sentence(measured):
            print_text(sentence)
        written = [benchmark.out / RECORDS_FILE]
        earlier = _earlier_records(benchmark, measured)
        if (figure := benchmark.figure([*earlier, *measured])) is not None:
            written.append(benchmark.out / FIGURE_FILE)
            save_figure(figure, written[-1])
            if earlier:
                print(f"{written[-1]} also shows {len(earlier)} earlier records of {written[0]}.")
        print("Written:", ", ".join(map(str, written)))
    return code


def _earlier_records(benchmark: Benchmark, measured: Sequence[Record]) -> list[Record]:
    """Returns the records that earlier calls wrote and that belong in the same figure."""
    try:
        found = list(records.read(benchmark.out / RECORDS_FILE))
    except DataError as error:
        print(f"rnnlab: warning: earlier records are not drawn: {error}", file=sys.stderr)
        return []
    return [
        record
        for record in found
        if record.get("started") != measured[0]["started"]
        and benchmark.belongs_with(record, measured)
    ]


def _with_progress(benchmark: Benchmark) -> Iterator[Record]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = make_console(stderr=True)
    options = {"transient": True, "disable": not console.is_terminal}
    with Progress(*columns, console=console, **options) as progress:
        task = progress.add_task("", total=benchmark.num_steps())

        def on_progress(text: str) -> None:
            progress.update(task, advance=1, description=text)

        yield from benchmark.run(on_progress)
