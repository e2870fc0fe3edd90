"""Exported files of a model, each checked against the model before it is returned."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import jax
from flax import nnx

from rnnlab.call_validation import require_one_sequence
from rnnlab.export.formats import FORMATS, Format
from rnnlab.export.names import FORMS, Form
from rnnlab.export.parity import evaluation_copy, package_versions, require_small_error
from rnnlab.layers.bidirectional import Bidirectional
from rnnlab.recurrent import module_dtype
from rnnlab.validation import require_one_of

PARITY_FILE = "parity.json"
"""Report on the exported files next to it."""


def forms_of(module: nnx.Module) -> tuple[Form, ...]:
    """Returns the forms that a module has: no step where a cell reads from the end.

    Raises:
      ValueError: the module reads a source or labels besides its inputs.

    >>> from rnnlab import MinGRU
    >>> forms_of(MinGRU(3, 8, rngs=nnx.Rngs(0)))
    ('step', 'sequence')
    """
    require_one_sequence(module, "be exported")
    reads_the_end = any(isinstance(part, Bidirectional) for _, part in nnx.iter_modules(module))
    return ("sequence",) if reads_the_end else FORMS


def export_files(
    module: nnx.Module,
    formats: Collection[str] = ("onnx",),
    *,
    forms: Collection[Form] | None = None,
    flags: Collection[str] = (),
    report: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Returns the exported files of a module by name, such as "step.onnx", and their report.

    A file computes in float32 what the module computes in evaluation mode. Its inputs and outputs
    are those of `rnnlab.export.names`. Each is compared with the module on fixed batches; the
    result is in "parity.json".

    Args:
      module: a cell, layer, stack or model.
      formats: names in `FORMATS`.
      forms: "step", "sequence"; None: those that the module has.
      flags: which of "reset" and "mask" are inputs.
      report: the content of an earlier "parity.json", whose entries on other files are kept.

    Raises:
      ValueError: a format or form is unknown, a part of the module has no form in a format, a
        package is missing, or a file differs from the module.

    >>> from rnnlab import MinGRU
    >>> files = export_files(MinGRU(3, 8, rngs=nnx.Rngs(0)), ["stablehlo"], forms=["step"])
    >>> list(files)
    ['step.stablehlo', 'parity.json']
    """
    if not formats:
        raise ValueError("formats must not be empty; name at least one")
    for name in formats:
        require_one_of("format", name, FORMATS)
    dtype = module_dtype(module)
    module = evaluation_copy(module)
    files: dict[str, bytes] = {}
    reports = dict(report or {})
    for name in formats:
        for form in forms_of(module) if forms is None else forms:
            content = FORMATS[name].load().write(module, form, flags)
            file = form + FORMATS[name].suffix
            checked = _check(file, content, FORMATS[name], module, form, flags)
            reports[file] = {**checked, "model_dtype": dtype.name}
            files[file] = content
    return {**files, PARITY_FILE: f"{json.dumps(reports, indent=1)}\n".encode()}


def _check(
    file: str,
    content: bytes,
    format: Format,
    module: nnx.Module,
    form: Form,
    flags: Collection[str],
) -> dict[str, Any]:
    """Returns the report on a file.

    Raises:
      ValueError: it differs from the module by more than `require_small_error` allows.
    """
    function = format.load().read(content)
    try:
        error, allowed = require_small_error(file, function, format, module, form, flags)
    except ValueError as reason:
        action = "nothing is written, report the settings of the model"
        raise ValueError(f"{reason}; {action}") from None
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "form": form,
        "flags": sorted(flags),
        "max_relative_error": error,
        "tolerance": allowed,
        "batches": [list(size) for size in format.sizes],
        "dtype": "float32",
        "device": jax.devices()[0].platform,
        "versions": package_versions(("jax", "flax", *format.packages)),
    }
