"""Prose keeps to the house language: standard terms, no private words.

`python tests/test_language.py [PATH ...]` lists every offence with its replacement.
"""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
GLOBS = (
    "rnnlab/**/*.py",
    "docs/**/*.md",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "notebooks/*.ipynb",
    "tools/**/*.py",
    "experiments/**/*.py",
)
EXEMPT = ("rnnlab/legacy_names.py", "tests/test_language.py")
"""Files that must quote the forbidden words."""

UNITS = (
    "step|second|token|row|line|update|file|layer|cell|run|unit|core|process|sequence|batch|"
    "feature|epoch|trial|element|position|example|call|cell|kernel|gate|setting|experiment|"
    "benchmark|worker|device|page|word|symbol|series|column"
)
COUNTED = (
    "times|once|twice|seconds|milliseconds|microseconds|ms|µs|bytes|MB|numbers|matmuls?|rows?|"
    "lines?|tokens|updates|operations|iterations|one|some|cell|file|generator|reader|function"
)
PER = rf"\b(?:{COUNTED}) an? (?:{UNITS})\b"

FORBIDDEN: dict[str, str] = {
    # Not a number, none, no such.
    r"\b(?:is|are) no numbers?\b": "is NaN, is not finite",
    r"(?<!there )\bis no (?!longer|more|less|fewer|greater|better|worse|slower|faster)\w+": (
        "is not a ..."
    ),
    r"\b(?:is|are|was|were) (?-i:none)\b": "is missing, has no ...",
    r"\bno such (?!file)": "is unknown, is missing",
    # Resume.
    r"\bgo(?:es|ing|ne)? on\b|\bwent on\b": "resume, continue",
    r"\b(?:takes?|taken|took|taking) up\b": "resume",
    r"\bsittings?\b": "a resumed process",
    r"\bput(?:s|ting)? away\b": "quarantine, move",
    # Per.
    PER: "per",
    # Old-fashioned words.
    r"\banew\b": "again",
    r"\bbeside\b": "next to, in addition to",
    r"\bbut for\b": "except",
    r"\bwhoever\b": "any process, any user",
    r"\bfor ever\b": "permanently",
    r"\bby (?:itself|themselves)\b": "automatically, separately",
    r"\bcommonest\b": "most common",
    r"\blikeliest\b": "most likely",
    r"(?<!length )\balone\b": "only",
    r"\bat once\b": "immediately, or: in parallel",
    r"\bthereby\b": "(a new sentence)",
    r"\bmeanwhile\b|\bthe while\b": "while ...",
    r"\bof old\b|\bas ever\b|\bas it were\b": "(leave it out)",
    # Mathematics.
    r"\b(?:gradient|derivative)s?(?: of [^.;:]{1,30})? by (?:its|the|h|a|b|all|each)\b": (
        "with respect to"
    ),
    # Programs do not speak.
    r"\b(?:tells?|told)\b": "returns, reports",
    r"\b(?:says?|said)\b": "reports, states, logs",
    r"\b(?:hears?|heard)\b": "receives",
    r"\bobey(?:s|ed)?\b": "handles, stops",
    r"\bhurts?\b|\bharm(?:s|ed)?\b": "affects, corrupts",
    r"\bstrangers?'?\b": "untrusted, third-party",
    r"\bwithout a word\b": "without a message",
    # Files.
    r"\b(?:is|are|was|be|left|still) sound\b|\bsound (?:and|one|step|file|run)": "valid",
    r"\bdamage(?:d|s)?\b": "corrupt",
    r"\broom\b": "free space",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\btak(?:e|es|en) it out\b|\btake (?:that|the) \w+ out\b": "remove it",
    r"\b(?:leave|leaves|left) (?:it |them )?out\b": "omit",
    r"\bbring it back\b": "restore it from a backup",
    r"\bretire[ds]?\b": "archive",
    r"\b(?:is|are) needed\b": "must be ..., got ...",
    r"\b(?:is|are) refused\b": "is invalid, raises",
    # Benchmarks and tables.
    r"\bfloors?\b(?! division)": "baseline (predictor), lower bound (time, bytes)",
    r"\bin turns\b": "interleaved",
    r"\btwins?\b": "counterpart",
    r"\bsweeps?\b": "grid (settings), pass (kernel)",
    r"\bwalks? (?:over|once|along)\b": "scan over",
    r"\bHeld[.:]": "the expectation was met",
    r"\bhad to hold\b": "expected",
    r"\bkeep(?:s|ing)? pages\b|\bkept pages\b": "keep memory",
    r"\brefuse[ds]? to\b": "raises, does not",
    # Metaphors.
    r"\bstands? (?:still|in the way|beside|somewhere)\b|\bstood still\b": "pauses, waits, is",
    r"\byardsticks?\b": "baseline",
    r"\bgone back on\b": "rolled back",
    # Private matters.
    r"/root/|/work/": "a relative path",
    r"\bsession \d|\bhelper session|\bissue #?\d": "(remove)",
}
"""Patterns that must not occur, and what to write instead."""

RIDDLES = r"(?:Of|What|How|Where|Whatever|Its|Whose|Which)\b"
"""Beginnings of a docstring without a subject."""


class Offence(NamedTuple):
    """A forbidden expression: the file, its line, the expression, and what to write instead."""

    path: str
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.found!r} -> {self.instead}"


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Pieces of prose with their first line: paragraphs, comments, docstrings and messages.

    Code is left out: fenced and indented blocks, spans in backticks, and strings without a space.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        for number, cell in enumerate(json.loads(text)["cells"], 1):
            if cell["cell_type"] == "markdown":
                yield from ((number, piece) for _, piece in markdown("".join(cell["source"])))
    elif path.suffix == ".md":
        yield from markdown(text)
    else:
        yield from python(text)


def markdown(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a page outside code, links' targets and comments."""
    text = re.sub(r"<!-- rows: .*?<!-- end -->", blank, text, flags=re.DOTALL)  # from records
    text = re.sub(r"<!--.*?-->", blank, text, flags=re.DOTALL)
    text = re.sub(r"^ *```.*?^ *```", blank, text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    is_code, before = False, ""
    for number, line in enumerate(text.split("\n"), 1):
        is_indented = line.startswith("    ") and not re.match(r" *([-*]|\d+\.) ", line)
        is_code = is_indented and (is_code or not before.strip())
        before = line
        if not is_code:
            yield number, without_spans(line)


def python(text: str) -> Iterator[tuple[int, str]]:
    """The comments, docstrings and messages of a module."""
    kinds = (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", None))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in kinds or (token.type == tokenize.STRING and " " not in token.string):
            continue
        lines = re.sub(r"^ *```.*?^ *```", blank, token.string, flags=re.DOTALL | re.MULTILINE)
        for number, line in enumerate(lines.split("\n"), token.start[0]):
            if not line.lstrip().startswith((">>>", "...")):
                yield number, without_spans(line)


def blank(match: re.Match) -> str:
    return "\n" * match[0].count("\n")


def without_spans(line: str) -> str:
    return re.sub(r"`[^`]*`", "``", line)


def offences(path: Path, patterns: dict[str, str]) -> list[Offence]:
    """The forbidden expressions of a file."""
    name = str(path.relative_to(ROOT))
    return [
        Offence(name, number, match[0], instead)
        for number, line in prose(path)
        for pattern, instead in patterns.items()
        for match in search(pattern, line)
    ]


def search(pattern: str, line: str) -> Iterator[re.Match]:
    """The matches of a pattern; one that begins a word with a capital is case-sensitive."""
    return re.finditer(pattern, line, 0 if re.search(r"\\b[A-Z]", pattern) else re.IGNORECASE)


def riddles(path: Path) -> list[Offence]:
    """Docstrings of a module that begin without a subject."""
    if path.suffix != ".py":
        return []
    name = str(path.relative_to(ROOT))
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            doc = (ast.get_docstring(node) or "").split("\n")[0]
            if re.match(RIDDLES, doc) and not doc.endswith("?"):  # an experiment asks a question
                line = node.body[0].lineno
                found.append(Offence(name, line, doc, "a full sentence about a thing"))
    return found


def files(names: tuple[str, ...] = GLOBS) -> list[Path]:
    """The files that git does not ignore below some paths or globs; without git, all of them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *names]
    command[-len(names) :] = [f":(glob){name}" if "*" in name else name for name in names]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        found = {path for name in names for path in ROOT.glob(name)}
    else:
        found = {ROOT / name for name in listed.stdout.splitlines()}
    suffixes = (".py", ".md", ".ipynb")
    found = {path for path in found if path.suffix in suffixes and path.exists()}
    return sorted(found - {ROOT / name for name in EXEMPT})


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_of_a_file_has_no_forbidden_words(path):
    found = offences(path, FORBIDDEN) + riddles(path)
    assert not found, "\n" + "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("# the gate is no number there", "is no number"),
        ("one file a run, beside the others", "file a run"),
        ("`alone` in code is a name", ""),
        ("There is no cache. It is no longer used.", ""),
    ],
)
def test_search_of_a_line_finds_its_forbidden_word(line, word):
    found = [m[0] for p in FORBIDDEN for m in search(p, without_spans(line))]
    assert any(word in x for x in found) if word else not found


if __name__ == "__main__":
    total = 0
    for file in files(tuple(sys.argv[1:]) or (*GLOBS, "tests/**/*.py")):
        listing = offences(file, FORBIDDEN) + riddles(file)
        total += len(listing)
        for offence in sorted(listing):
            print(offence)
    print(f"{total} offences")
