"""The figure of the front page: the time of a training step of each cell, on a GPU and on a CPU."""

from collections.abc import Sequence

from committed_records import committed_records
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlab.plotting import cell_label, series_colors
from rnnlab.records import Record
from rnnlab.tables import device_label, format_ms

FILES = {"gpu_speedup": "NVIDIA H200", "speedup_paper_size": "two CPU cores"}
CELLS = ("lstm", "gru", "minlstm", "mingru")
"""From the lowest bar to the highest."""
LENGTH = 4096


def front_figure() -> Figure:
    """Draws one panel per device, with the fastest implementation of each cell."""
    figure = Figure(figsize=(8, 3.7), layout="constrained")
    for axes, (file, device) in zip(figure.subplots(1, 2), FILES.items(), strict=True):
        _draw(axes, fastest_training_steps(committed_records(file), LENGTH), device)
    return figure


def fastest_training_steps(records: Sequence[Record], length: int) -> dict[str, Record]:
    """Returns the record of the fastest implementation of each cell at a length."""
    found: dict[str, Record] = {}
    for record in records:
        if (record["pass"], record["length"]) == ("train", length):
            best = found.get(record["cell"], record)
            found[record["cell"]] = min(best, record, key=lambda r: r["step_seconds"])
    return found


def _draw(axes: Axes, fastest: dict[str, Record], device: str) -> None:
    seconds = [fastest[cell]["step_seconds"] for cell in CELLS]
    colors = series_colors(CELLS)
    names = [f"{cell_label(cell)}\n{fastest[cell]['implementation']}" for cell in CELLS]
    bars = axes.barh(names, seconds, color=[colors[cell] for cell in CELLS])
    axes.bar_label(bars, [f"{format_ms(time)} ms" for time in seconds], padding=4, fontsize=12)
    first = fastest[CELLS[0]]
    sizes = f"one layer, batch {first['batch_size']}, width {first['width']}"
    axes.set_title(f"Training step, {device}", fontsize=12, loc="left")
    axes.set(xlim=(0, 1.4 * max(seconds)), xticks=[])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(left=False, labelsize=11)
    axes.set_xlabel(
        f"{sizes},\n{first['length']:,} time steps;\n{device_label(first)}", fontsize=9, loc="left"
    )
