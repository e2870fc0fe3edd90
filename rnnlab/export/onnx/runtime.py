"""ONNX files in ONNX Runtime, on the CPU."""

from collections.abc import Callable, Mapping

import numpy as np

from rnnlab.optional import require_module

Function = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def read(content: bytes) -> Function:
    """Returns the function of an ONNX file, from arrays by name to arrays by name, on one thread.

    Raises:
      ValueError: the package onnxruntime is not installed.
    """
    runtime = require_module("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # warnings of the optimizer are not for the user
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    expected = [value.name for value in session.get_inputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feeds = {name: np.asarray(inputs[name]) for name in expected}
        return dict(zip(names, session.run(names, feeds), strict=True))

    return run
