"""Imports between the packages run in one direction, read from the source without importing it."""

import ast
from pathlib import Path

import rnnlab

ROOT = Path(rnnlab.__file__).parent

ORDER = (
    {"errors"},
    {
        "validation",
        "dtypes",
        "argument_errors",
        "chained_calls",
        "load_module",
        "optional",
        "malloc",
        "legacy_names",
        "console",
    },
    {"atomic_io", "call_arguments", "call_validation", "provenance", "registry"},
    {"records", "plotting"},
    {"tables", "scan", "datasets", "audio"},
    {"recurrent", "losses"},
    {"layers", "heads"},
    {"cells"},
    {"models", "tasks", "testing"},
    {"parallel"},
    {"analysis", "interop", "train"},
    {"runs"},
    {"bundle", "jobs", "searches"},
    {"export"},
    {"compress", "serve"},
    {"bench"},
    {"loading"},
    {"cli"},
)
"""Modules and packages of `rnnlab`, lowest first. Each imports only from sets before its own."""


def imported_names(path: Path) -> set[str]:
    """Returns the modules and packages directly under `rnnlab` that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in found]
    return {part[1] for part in parts if part[0] == "rnnlab" and len(part) > 1}


def import_pairs() -> set[tuple[str, str]]:
    """Returns (importer, imported) for all imports between modules and packages of `rnnlab`."""
    pairs = set()
    for path in ROOT.rglob("*.py"):
        importer = path.relative_to(ROOT).parts[0].removesuffix(".py")
        pairs |= {(importer, name) for name in imported_names(path) if name != importer}
    return pairs


def test_order_names_every_module_and_package_once():
    listed = sorted(name for group in ORDER for name in group)
    found = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")}
    assert listed == sorted(found - {"__init__"})


def test_imports_run_one_way():
    rank = {name: k for k, group in enumerate(ORDER) for name in group}
    pairs = import_pairs()
    assert ("cells", "scan") in pairs, "the imports must be found"
    upward = sorted(f"{a} imports {b}" for a, b in pairs if rank[a] <= rank[b])
    assert not upward, f"imports must run from later to earlier groups of ORDER: {upward}"
