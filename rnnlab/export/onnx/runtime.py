"""ONNX files in ONNX Runtime, on the CPU."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rnnlab.optional import require_module

Function = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""A file that was read: a function from inputs by name to outputs by name."""

ERRORS_ONLY = 3
"""ONNX Runtime's name for a log without the warnings of its optimizer."""


def open_session(content: bytes, threads: int = 1) -> Any:
    """Returns the `onnxruntime.InferenceSession` of an ONNX file.

    Args:
      content: of the file.
      threads: of each operator. One is fastest for small models.

    Raises:
      ValueError: the package onnxruntime is not installed.
    """
    runtime = require_module("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def read(content: bytes) -> Function:
    """Returns the function of an ONNX file, from arrays by name to arrays by name, on one thread.

    Raises:
      ValueError: the package onnxruntime is not installed.
    """
    session = open_session(content)
    names = [output.name for output in session.get_outputs()]
    expected = [value.name for value in session.get_inputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feeds = {name: np.asarray(inputs[name]) for name in expected}
        return dict(zip(names, session.run(names, feeds), strict=True))

    return run
