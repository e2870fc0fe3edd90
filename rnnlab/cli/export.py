"""`rnnlab export`: files of a bundle's model that run without rnnlab."""

import json
from collections.abc import Mapping

from rnnlab.atomic_io import mkdir_durable, parse_json, write_bytes
from rnnlab.bundle import Bundle, add_files, open_bundle
from rnnlab.cli.deploy_commands import Export
from rnnlab.export import FORMATS, PARITY_FILE, export_files, forms_of
from rnnlab.export.browser import PAGE_FILE, browser_page
from rnnlab.tables import Table, print_table, print_text
from rnnlab.validation import require_one_of

BROWSER = "browser"
"""The format of a page, which holds the ONNX file of one time step."""


def export(command: Export) -> int:
    """Writes the files and prints a table of them. Returns the exit code.

    Raises:
      BundleError: the bundle is invalid.
      ValueError: a format or flag is unknown, a part of the model has no form in a format, a
        package is missing, or a file differs from the model.
    """
    bundle = open_bundle(command.folder)
    model = bundle.model()
    asked = {"step": command.step, "sequence": command.sequence}
    forms = [form for form, is_asked in asked.items() if is_asked]
    if not forms and "step" not in forms_of(model):
        print_text("A bidirectional model has no step; only its sequence is written.")
    formats = _names(command.format)
    for name in formats:
        require_one_of("format", name, (*FORMATS, BROWSER))
    pages = {}
    if BROWSER in formats:
        formats.remove(BROWSER)
        pages[PAGE_FILE] = browser_page(bundle, command.runtime)
    files = {}
    if formats or not pages:
        files = export_files(
            model,
            formats,
            forms=forms or None,
            flags=_names(command.flags),
            report=None if command.out else _report(bundle),
        )
    files = {**pages, **files}
    if command.out is None:
        add_files(command.folder, files)
    else:
        mkdir_durable(command.out)
        for name, content in files.items():
            write_bytes(command.out / name, content)
    folder = command.out or command.folder
    print_table(_table(bundle.name, files))
    print("Written:", ", ".join(str(folder / name) for name in files))
    return 0


def _names(text: str) -> list[str]:
    """Returns the parts of a comma-separated list, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _report(bundle: Bundle) -> dict:
    """Returns the entries of a bundle's report, which remain for files that are not written."""
    if PARITY_FILE not in bundle.files:
        return {}
    report = parse_json(bundle.read(PARITY_FILE), bundle.path / PARITY_FILE)
    return {name: entry for name, entry in report.items() if name in bundle.files}


def _table(name: str, files: Mapping[str, bytes]) -> Table:
    report = json.loads(files.get(PARITY_FILE, b"{}"))
    lines = [
        (
            file,
            f"{len(content):,}",
            f"{report[file]['max_relative_error']:.1e}" if file in report else "",
        )
        for file, content in files.items()
        if file != PARITY_FILE
    ]
    return Table(f"Exported files of {name}", ("file", "bytes", "largest relative error"), lines)
