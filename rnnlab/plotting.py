"""Figures: one color and one label per cell, and saving a figure whole or not at all."""

import itertools
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rnnlab.atomic_io import raise_resource_errors
from rnnlab.registry import COLORS, LABELS

if TYPE_CHECKING:  # matplotlib takes most of a second to import
    from matplotlib.figure import Figure

# From the muted palette of Paul Tol, in an order that keeps neighbors apart. No cell has one of
# these colors.
OTHER_COLORS = ("#332288", "#CC6677", "#117733", "#882255", "#44AA99", "#999933", "#AA4499")
"""Colors of everything that is not a cell: backends, layers of a model, a user's own cells."""
FORMATS = ("png", "svg", "pdf")
MARK = "a figure of rnnlab"
"""What the metadata of every figure contain, so that a figure replaces only figures."""
MARK_KEYS = {"png": "Description", "svg": "Description", "pdf": "Subject"}


def cell_label(name: str) -> str:
    """Returns the label of a cell; any other name is its own label.

    >>> cell_label("mingru"), cell_label("layer 1")
    ('minGRU', 'layer 1')
    """
    return LABELS.get(name, name)


def series_colors(names: Iterable[str]) -> dict[str, str]:
    """Returns a color per name: a cell's own, and for other names the next of `OTHER_COLORS`.

    Args:
      names: names of cells, in any case, or of anything else.

    >>> series_colors(["layer 1", "GRU", "layer 2"])
    {'layer 1': '#332288', 'GRU': '#D55E00', 'layer 2': '#CC6677'}
    """
    rest = itertools.cycle(OTHER_COLORS)
    return {name: COLORS.get(name.lower()) or next(rest) for name in dict.fromkeys(names)}


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a figure to a temporary file, then renames it: the file is whole or unchanged.

    Raises:
      InsufficientResourcesError: the file could not be written.
      ValueError: the name does not end in .png, .svg or .pdf, or is a directory.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS or path.is_dir():
        raise ValueError(
            f"{path} is not a name of a figure; give a file that ends in .{', .'.join(FORMATS)}"
        )
    temporary = path.with_name(path.name + ".tmp")
    with raise_resource_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            figure.savefig(temporary, dpi=110, format=kind, metadata={MARK_KEYS[kind]: MARK})
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def require_replaceable(path: Path) -> None:
    """Checks that a figure may be written: the file does not exist, or is a figure of rnnlab.

    Raises:
      ValueError: the file exists and was not written by `save_figure`.
    """
    if path.is_file() and MARK.encode() not in path.read_bytes():
        raise ValueError(
            f"{path} exists and is not a figure of rnnlab; move it, or choose another --out"
        )


def add_caption(figure: "Figure", text: str) -> None:
    """Writes a caption below a figure, wrapped to its width."""
    characters = int(17 * figure.get_figwidth())  # of 8 points
    lines = (textwrap.fill(line, characters) for line in text.splitlines())
    figure.supxlabel("\n".join(lines), fontsize=8, parse_math=False)
