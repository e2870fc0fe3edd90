"""Notebooks as pages of the site: their text, code and stored outputs, without running them."""

import base64
import json
import re
from pathlib import Path
from typing import NamedTuple

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LONGEST_OUTPUT = 40
"""Lines of a printed output that a page shows at most."""


class NotebookPage(NamedTuple):
    """A notebook as Markdown, and its pictures by file name."""

    markdown: str
    images: dict[str, bytes]


def page(path: Path) -> NotebookPage:
    """Returns a notebook as a page; its pictures are in a folder next to it, named like it."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    images: dict[str, bytes] = {}
    parts = []
    for number, cell in enumerate(cells, 1):
        source = "".join(cell["source"]).strip("\n")
        if cell["cell_type"] == "markdown":
            parts.append(_as_page_of_docs(source))
        elif cell["cell_type"] == "code" and source:
            parts.append(fenced(source, "python"))
            for k, output in enumerate(_joined(cell["outputs"]), 1):
                parts.append(_output(output, f"{path.stem}/{number}-{k}.png", images))
    title, _, rest = "\n\n".join(parts).partition("\n")
    note = f"From `notebooks/{path.name}`, with the outputs of its last run."
    return NotebookPage(f"{title}\n\n*{note}*\n{rest}\n", images)


def fenced(text: str, language: str) -> str:
    """Returns a block of code whose fence is longer than every fence inside it."""
    fence = "`" * max(3, *(1 + len(run) for run in re.findall("`+", text)), 0)
    return f"{fence}{language}\n{text}\n{fence}"


def _as_page_of_docs(text: str) -> str:
    """Returns a text with links as in docs/notebooks/, and display formulas on their own lines."""
    text = text.replace("](../experiments/", "](../../experiments/").replace("](../docs/", "](../")
    return re.sub(r"\$\$(.+?)\$\$", r"\n\n$$\n\1\n$$\n\n", text, flags=re.DOTALL)


def _joined(outputs: list[dict]) -> list[dict]:
    """Joins what was printed in several pieces."""
    joined: list[dict] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" and output.get("name") == last.get("name"):
            joined[-1] = last | {"text": [*last["text"], *output["text"]]}
        else:
            joined.append(output)
    return joined


def _output(output: dict, name: str, images: dict[str, bytes]) -> str:
    """Returns an output as Markdown, and stores its picture."""
    if output.get("name") == "stderr":
        return ""
    data = output.get("data", {})
    if "image/png" in data:
        images[name] = base64.b64decode(data["image/png"])
        return f"![Picture of the cell above]({name})"
    text = output.get("text") or data.get("text/plain") or output.get("traceback") or ""
    lines = ANSI.sub("", "".join(text)).strip("\n").splitlines()
    if len(lines) > LONGEST_OUTPUT:
        lines = [*lines[: LONGEST_OUTPUT - 1], f"... {len(lines) - LONGEST_OUTPUT + 1} more lines"]
    return fenced("\n".join(lines), "{.text .output}") if lines else ""
