"""MkDocs hooks: copy the files outside docs/ that pages link to into the site.

On a code host, a link such as `../experiments/x.png` leads to a file of the repository. The site
has no directory above docs/, so these files are copied next to the pages and the links adapted.
"""

import re
import sys
from pathlib import Path

from mkdocs.structure.files import File, Files

sys.path.append(str(Path(__file__).parent))
import docs_math  # next to this file

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"\]\(((?:\.\./)+)((?:experiments|notebooks)/[^)#\s]+)")


def on_files(files: Files, config) -> Files:
    """Adds every file outside docs/ that a page links to."""
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
    """Removes one `../` from each such link."""
    return OUTSIDE.sub(lambda m: f"]({m[1].removeprefix('../')}{m[2]}", markdown)


def on_page_content(content: str, page, config, files) -> str:
    """Replaces LaTeX by MathML."""
    return docs_math.mathml(content)
