"""Examples of the site: a copy button copies their code, without prompts and outputs."""

import doctest
import html
import re

SESSION = re.compile(r"^```python\n(?=>>> )", re.MULTILINE)
RENDERED = re.compile(r'<div class="language-pycon highlight">(.*?)</div>', re.DOTALL)


def mark_sessions(markdown: str) -> str:
    """Returns a page whose examples with prompts are marked as interactive sessions."""
    return SESSION.sub("```pycon\n", markdown)


def add_copied_code(content: str) -> str:
    """Returns HTML whose interactive sessions have their code in `data-copy`.

    The theme's copy button reads this attribute.
    """

    def add(match: re.Match[str]) -> str:
        text = html.unescape(re.sub(r"<[^>]+>", "", match[1]))
        sources = [example.source for example in doctest.DocTestParser().get_examples(text)]
        # Python's prompt ends an indented block at an empty line.
        blocks = [f"{s}\n" if s.splitlines()[-1].startswith(" ") else s for s in sources]
        code = html.escape("".join(blocks).rstrip())
        return f'<div class="language-pycon highlight" data-copy="{code}">{match[1]}</div>'

    return RENDERED.sub(add, content)
