"""Results of all training experiments: one table per kind of metric, minimal cells first."""

from collections.abc import Callable, Sequence

from page_tables import minimal_first  # next to this file

from rnnlab.cli.summary_table import PAPER_HEADING, summary_table
from rnnlab.records import Record
from rnnlab.tables import Table

# Figures that publications report, each in its own setting, by experiment.
PAPER = {
    "adding": "LSTM 0.164, GRU 5.3e-5, TCN 5.8e-5 (1803.01271)",
    "char_lm": "minGRU 1.548, minLSTM 1.555, Mamba 1.575, Transformer 1.547 on Shakespeare "
    "(2410.01201)",
    "chorales": "on the .mat file LSTM 8.45, GRU 8.43, RNN 8.91, TCN 8.10 (1803.01271)",
    "copy_memory": "LSTM 0.0204, GRU 0.0197, TCN 3.5e-5 after 1000 steps (1803.01271)",
    "pronunciation": "word errors of cmudict, without stress: on another version of it "
    "Phonetisaurus 0.339, Transformer 0.302 (github.com/cmusphinx/g2p-seq2seq)",
    "selective_copying": "minGRU 0.995 at length 4096, 3 layers (2410.01201)",
}


def losses(records: Sequence[Record]) -> Table:
    """Losses and errors: the lower, the better."""
    return _table(records, lambda metric: "lower" in metric)


def scores(records: Sequence[Record]) -> Table:
    """Accuracies: the higher, the better."""
    return _table(records, lambda metric: "higher" in metric)


def published() -> str:
    """The published figures, one line per experiment that has some."""
    return "\n".join(f"- `{experiment}`: {figures}" for experiment, figures in PAPER.items())


def _table(records: Sequence[Record], is_shown: Callable[[str], bool]) -> Table:
    table = summary_table(records, {})
    at = {heading: k for k, heading in enumerate(table.headings)}
    others = ("experiment", "setting", "metric", "best trivial baseline", "seeds", PAPER_HEADING)
    cells = [heading for heading in table.headings if heading not in others]
    chosen = [line for line in table.lines if is_shown(line[at["metric"]])]
    metrics = [line[at["metric"]].partition(",")[0] for line in chosen]
    is_one = len(set(metrics)) == 1
    lines = []
    for line, metric in zip(chosen, metrics, strict=True):
        label = ", ".join(filter(None, (line[at["experiment"]], line[at["setting"]])))
        shown = (line[at[heading]] for heading in (*cells, "best trivial baseline", "seeds"))
        lines.append((label if is_one else f"{label} ({metric})", *shown))
    used = [k for k, cell in enumerate(cells, 1) if any(line[k] for line in lines)]
    columns = [0, *used, len(cells) + 1, len(cells) + 2]
    first = f"experiment ({metrics[0] if is_one else 'metric'})"
    headings = (first, *cells, "best trivial baseline", "seeds")
    return minimal_first(
        Table(
            table.title,
            tuple(headings[k] for k in columns),
            [tuple(line[k] for k in columns) for line in lines],
        )
    )
