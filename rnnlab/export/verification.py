"""Exported files of a bundle, compared again with its model where the bundle is used."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx

from rnnlab.errors import BundleError, MissingPackageError
from rnnlab.export.files import forms_of
from rnnlab.export.formats import FORMATS, Format
from rnnlab.export.names import FLAGS
from rnnlab.export.parity import evaluation_copy, require_small_error


def verify_files(
    module: nnx.Module, report: Mapping[str, Any], read: Callable[[str], bytes]
) -> dict[str, float]:
    """Returns the largest relative error of each exported file, by name.

    The batches and the tolerance are those of its format, as when the file was written. The files
    are executed by their runtimes.

    Args:
      module: what they were exported from.
      report: the content of parity.json.
      read: returns the content of a file.

    Raises:
      BundleError: a file differs from the module by more than its format allows, or the report is
        not of this file.
      MissingPackageError: a package that reads a file is missing.
    """
    module, errors = evaluation_copy(module), {}
    for name, entry in report.items():
        content = read(name)
        format, form, flags = _entry(module, name, entry, content)
        try:
            function = format.load().read(content)
        except MissingPackageError as error:
            raise MissingPackageError(f"to compare {name} with the model {error}") from None
        except ValueError as reason:
            raise BundleError(f"{name} must be readable: {reason}; export it again") from None
        try:
            errors[name], _ = require_small_error(name, function, format, module, form, flags)
        except ValueError as reason:
            raise BundleError(f"{reason}; export it again") from None
    return errors


def _entry(
    module: nnx.Module, name: str, entry: Any, content: bytes
) -> tuple[Format, Any, list[str]]:
    """Returns format, form and flags of a file from its entry in the report."""
    formats = [format for format in FORMATS.values() if name.endswith(format.suffix)]
    entry = entry if isinstance(entry, dict) else {}
    form, flags = entry.get("form"), entry.get("flags")
    is_known = formats and form in forms_of(module) and isinstance(flags, list)
    if not is_known or not all(flag in FLAGS for flag in flags):
        raise BundleError(
            f"the report on {name} must name a format, a form and flags of the model, and does "
            "not; export it again"
        )
    if entry.get("sha256") != hashlib.sha256(content).hexdigest():
        raise BundleError(f"{name} must be the file of its report, and is another; export it again")
    return max(formats, key=lambda format: len(format.suffix)), form, flags
