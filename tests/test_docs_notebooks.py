"""Notebooks become pages of the site."""

import json
from pathlib import Path

import docs_notebooks

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def test_page_of_a_notebook_has_its_text_code_outputs_and_pictures(tmp_path):
    printed = [{"output_type": "stream", "name": "stdout", "text": [line]} for line in ("1\n", "2")]
    picture = {"output_type": "display_data", "data": {"image/png": "aGk=", "text/plain": "Figure"}}
    log = {"output_type": "stream", "name": "stderr", "text": ["progress"]}
    cells = [
        {"cell_type": "markdown", "source": "# Title\n$$x$$ [page](../docs/scan.md)"},
        {"cell_type": "code", "source": "print(1)", "outputs": [*printed, log, picture]},
    ]
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    page = docs_notebooks.page(path)
    assert page.markdown.startswith("# Title\n")
    assert "$$\nx\n$$" in page.markdown
    assert "[page](../scan.md)" in page.markdown
    assert "```python\nprint(1)\n```\n\n```{.text .output}\n1\n2\n```" in page.markdown
    assert "progress" not in page.markdown
    (name,) = page.images
    assert page.images[name] == b"hi"
    assert f"]({name})" in page.markdown


def test_every_notebook_is_in_the_navigation():
    navigation = (NOTEBOOKS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    for path in NOTEBOOKS.glob("*.ipynb"):
        assert f"notebooks/{path.stem}.md" in navigation
