"""For MkDocs: what pages link to outside of docs/ becomes part of the site.

Pages are read on a code host too, where `../experiments/x.png` is a file of the repository. Here
those files are copied beside the pages, and the links lead there.
"""

import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"\]\(((?:\.\./)+)((?:experiments|notebooks)/[^)#\s]+)")


def on_files(files: Files, config) -> Files:
    """Adds every file outside of docs/ that a page links to."""
    linked = {
        match[2]
        for page in files.documentation_pages()
        for match in OUTSIDE.finditer(page.content_string)
    }
    for path in sorted(linked):
        text = File.generated(config, path, abs_src_path=str(ROOT / path))
        files.append(text)
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Takes one step up out of each such link: the site has no folder above docs/."""
    return OUTSIDE.sub(lambda m: f"]({m[1].removeprefix('../')}{m[2]}", markdown)
