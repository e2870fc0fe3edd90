"""MkDocs hooks: files outside docs/ become part of the site, notebooks pages, and LaTeX MathML.

On a code host, a link such as `../experiments/x.png` leads to a file of the repository. The site
has no directory above docs/, so these files are copied next to the pages and the links adapted.
"""

import re
import sys
from pathlib import Path

from mkdocs.structure.files import File, Files

sys.path.append(str(Path(__file__).parent))
import docs_examples  # next to this file
import docs_math
import docs_notebooks

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"\]\(((?:\.\./)+)(experiments/[^)#\s]+)")
LONG_TEXT = re.compile(r"<(td|th)( style=[^>]*)?>((?:(?!</t[dh]>).){30,})</\1>")
NOTEBOOK = re.compile(r"\]\(((?:\.\./)+)(notebooks/\w+)\.ipynb\)")


def on_files(files: Files, config) -> Files:
    """Adds the notebooks, and every file outside docs/ that a page links to."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = docs_notebooks.page(path)
        markdown = f"notebooks/{path.stem}.md"
        files.append(File.generated(config, markdown, content=page.markdown))
        for name, image in page.images.items():
            files.append(File.generated(config, f"notebooks/{name}", content=image))
    linked = {
        match[2]
        for page in files.documentation_pages()
        for match in OUTSIDE.finditer(page.content_string)
    }
    for path in sorted(linked):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Removes one `../` from each such link; a link to a notebook leads to its page.

    Examples with prompts are marked as interactive sessions.
    """
    markdown = NOTEBOOK.sub(lambda m: f"]({m[1].removeprefix('../')}{m[2]}.md)", markdown)
    markdown = OUTSIDE.sub(lambda m: f"]({m[1].removeprefix('../')}{m[2]}", markdown)
    return docs_examples.mark_sessions(markdown)


def on_page_content(content: str, page, config, files) -> str:
    """Replaces LaTeX by MathML, gives examples the code that the copy button copies, and marks
    long texts in tables, which get a minimum width."""
    content = docs_examples.add_copied_code(docs_math.mathml(content))
    return LONG_TEXT.sub(r'<\1 class="long"\2>\3</\1>', content)
