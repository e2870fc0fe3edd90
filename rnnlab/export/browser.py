"""A page that generates text in a browser: one file with the model, without a server's help.

The model is the ONNX file of one time step, which ONNX Runtime Web runs as WebAssembly. Greedy text
is that of `rnnlab.generate`; sampled text has another source of random numbers.
"""

import base64
import gzip
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from rnnlab.bundle import Bundle
from rnnlab.export.files import export_files, forms_of
from rnnlab.export.names import BATCH, CARRY, initial_values, input_fields
from rnnlab.models import SequenceModel
from rnnlab.models.config import count_parameters

PAGE_FILE = "page.html"
"""Name of the page in a bundle."""

RUNTIME_FILES = {"module": "ort.wasm.bundle.min.mjs", "wasm": "ort-wasm-simd-threaded.wasm"}
"""The files of onnxruntime-web that the page needs, in its folder `dist`."""


def browser_page(bundle: Bundle, runtime: Path | str | None = None) -> bytes:
    """Returns a page that generates text with the model of a bundle.

    Args:
      bundle: of a model that predicts the next symbol of a text.
      runtime: the folder `dist` of the npm package onnxruntime-web, whose files are embedded: the
        page then opens from a disk. None: the page has to be served by HTTP, and loads them from
        the folder `ort` next to it.

    Raises:
      ValueError: the model does not predict the next symbol of a text, has no step or no ONNX form,
        a file of the runtime is missing, or the packages of the extra `onnx` are not installed.
    """
    model = bundle.model()
    _require_text_model(bundle, model)
    content = export_files(model, ("onnx",), forms=("step",))["step.onnx"]
    values = initial_values(model)
    carry = [
        {
            "name": field.name,
            "shape": [1 if size == BATCH else size for size in field.shape],
            "value": values[field.name],
        }
        for field in input_fields(model, "step")
        if field.name.startswith(f"{CARRY}.")
    ]
    description = {
        "name": bundle.name,
        "about": f"{bundle.config.cell}, {count_parameters(model):,} parameters",
        "vocabulary": bundle.vocabulary,
        "carry": carry,
        "content": _pack(content),
    }
    embedded = None if runtime is None else _packed_runtime(Path(runtime))
    page = files("rnnlab.export").joinpath("page.html").read_text(encoding="utf-8")
    page = page.replace("{{model}}", _json(description)).replace("{{runtime}}", _json(embedded))
    return page.encode()


def _require_text_model(bundle: Bundle, model: SequenceModel) -> None:
    if not bundle.vocabulary or not bundle.description.autoregressive:
        raise ValueError(
            f"{bundle.path} must be a bundle of a model that predicts the next symbol of a text to "
            f"be exported as browser, got one of task {bundle.description.source.get('task')!r}; "
            "export it as onnx"
        )
    if "step" not in forms_of(model):
        raise ValueError(
            f"{bundle.path} must have a model with a step to be exported as browser, got a "
            "bidirectional one; train one with bidirectional=False"
        )


def _packed_runtime(folder: Path) -> dict[str, str]:
    for name in RUNTIME_FILES.values():
        if not (folder / name).is_file():
            raise ValueError(
                f"runtime must be a folder with the file {name}, got {folder}; run "
                "`npm install onnxruntime-web` and pass node_modules/onnxruntime-web/dist"
            )
    return {key: _pack((folder / name).read_bytes()) for key, name in RUNTIME_FILES.items()}


def _pack(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _json(value: Any) -> str:
    """Returns JSON that can stand in a script element: it has no `<`."""
    return json.dumps(value).replace("<", "\\u003c")
