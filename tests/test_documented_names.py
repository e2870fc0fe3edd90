"""Names in backticks on pages exist: modules, functions, options and files; links resolve.

`python tests/test_documented_names.py` lists all names and links that do not.
"""

import builtins
import functools
import importlib
import importlib.util
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
SUFFIXES = "py|md|toml|txt|json|jsonl|png|ipynb|npz|csv|ini|sh"
FILE = re.compile(rf"(?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:{SUFFIXES})")
NAME = re.compile(r"@?([A-Za-z_]\w*(?:\.\w+)*)(?:\(.*\)|\[.*\])?")
OPTION = re.compile(r"--[a-z][\w.-]*")
SHORT = {"jnp": "jax.numpy", "lax": "jax.lax", "np": "numpy", "nnx": "flax.nnx"}
"""Usual short names of modules of other packages."""


def spans(text: str) -> Iterator[tuple[int, str]]:
    """The spans in backticks outside blocks of code, with their lines."""
    text = re.sub(r"^ *```.*?^ *```", lambda m: "\n" * m[0].count("\n"), text, flags=re.S | re.M)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.startswith("    ") or re.match(r" *([-*]|\d+\.) |  +\S.*`", line):
            yield from ((number, span) for span in re.findall(r"`([^`]+)`", line))


@functools.cache
def words() -> frozenset[str]:
    """Every identifier in the code, and every word of a string without spaces."""
    found = set()
    for folder in ("rnnlab", "tools", "tests", "experiments"):
        for path in (ROOT / folder).rglob("*.py"):
            if path != Path(__file__):
                with path.open(encoding="utf-8") as file:
                    for token in tokenize.generate_tokens(file.readline):
                        if token.type == tokenize.NAME or " " not in token.string:
                            found.update(re.findall(r"\w+", token.string))
    for name in ("pyproject.toml", "constraints.txt", ".ci/run"):
        found.update(re.findall(r"\w+", (ROOT / name).read_text(encoding="utf-8")))
    return frozenset(found | set(dir(builtins)))


@functools.cache
def paths() -> frozenset[str]:
    """Every file and folder of the repository, and all their last parts."""
    found = set()
    for top in ROOT.iterdir():
        if top.name not in (".git", "build", "dist", "runs") and not top.name.startswith(".venv"):
            found |= {top, *(top.rglob("*") if top.is_dir() else ())}
    relative = {path.relative_to(ROOT) for path in found}
    tails = {"/".join(p.parts[k:]) for p in relative for k in range(len(p.parts))}
    return frozenset(tails)


def exists(span: str) -> bool:
    """Whether what a span names is there. Formulas, values and placeholders are not names."""
    if FILE.fullmatch(span):
        stem = span.rstrip("/")
        is_placeholder = re.search(r"\b[A-Z]{2,}\b|^/|^runs/", span)
        is_of_a_run = not (ROOT / stem.split("/")[0]).exists()  # written by code
        is_written = is_of_a_run and set(re.findall(r"\w+", stem)) <= words()
        return bool(is_placeholder) or stem in paths() or is_written
    if OPTION.match(span):
        name = re.split(r"[ =]", span)[0].removeprefix("--").removeprefix("no-")
        return set(name.replace("-", "_").split(".")) <= words()
    if match := NAME.fullmatch(span):
        parts = match[1].split(".")
        head = SHORT.get(parts[0], parts[0]).partition(".")[0]
        spec = importlib.util.find_spec(head)
        if len(parts) > 1 and spec is not None and spec.origin is not None:
            return is_importable(parts)
        return len(span) < 3 or set(parts) <= words() or is_importable(parts)
    return True


def is_importable(parts: list[str]) -> bool:
    """Whether a dotted name is found in an installed package."""
    parts = [*SHORT.get(parts[0], parts[0]).split("."), *parts[1:]]
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except Exception:
            continue
        for name in parts[end:]:
            found = getattr(found, name, None)
        return found is not None
    return False


def unknown_names(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    # It quotes what the command line answers to names that do not exist.
    text = re.sub(
        "<!-- rows: bad input -->.*?<!-- end -->",
        lambda m: "\n" * m[0].count("\n"),
        text,
        flags=re.S,
    )
    name = page.relative_to(ROOT)
    return [f"{name}:{line}: `{span}`" for line, span in spans(text) if not exists(span)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as on code hosts and in MkDocs."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    found = set()
    for heading in re.findall(r"^#+ +(.*?)(?: +\{.*\})?$", text, re.M):
        plain = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        found |= {re.sub(r"\s", "-", plain), re.sub(r"[-\s]+", "-", plain)}
    return found


def broken_links(page: Path) -> list[str]:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    name, found = page.relative_to(ROOT), []
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)", text):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists():
            found.append(f"{name}: {link} does not exist")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            found.append(f"{name}: {link} has no heading of this name")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_in_backticks_exist_in_the_code(page):
    found = unknown_names(page)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_resolve(page):
    found = broken_links(page)
    assert not found, "\n" + "\n".join(found)


def test_layout_of_the_repository_names_every_package():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    packages = {path.parent.name for path in (ROOT / "rnnlab").glob("*/__init__.py")}
    assert packages == set(re.findall(r"^    rnnlab/(\w+)/ ", text, flags=re.M))


@pytest.mark.parametrize("span", ["linear_scn", "jax.nothing", "tests/no_file.py", "--nothng"])
def test_name_without_code_is_found(span):
    assert not exists(span)


if __name__ == "__main__":
    for page in PAGES:
        print(*unknown_names(page), *broken_links(page), sep="\n")
