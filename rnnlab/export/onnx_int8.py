"""ONNX files with weights of int8, whose products quantize their inputs as they run."""

import logging
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from flax import nnx

from rnnlab.export import onnx
from rnnlab.export.names import Form
from rnnlab.export.onnx import read as read
from rnnlab.optional import require_module


def write(module: nnx.Module, form: Form, flags: Collection[str] = ()) -> bytes:
    """Returns a module as the content of an ONNX file with weights of int8 per output channel.

    ONNX Runtime's dynamic quantization: the input of each product is rounded to 8 bits by its range
    of the moment, and the product is one of integers. The states stay float32. Products by a kernel
    and the rows of an embedding are quantized, and an LSTM as a whole; ONNX Runtime has no integer
    form of the operator GRU, which sequences of a GRU use, so their recurrent weights stay float32.

    Raises:
      ValueError: as `rnnlab.export.onnx.write`, or a package is not installed.
    """
    onnx_package = require_module("onnx", "onnx")
    return quantize_dynamically(onnx_package.load_from_string(onnx.write(module, form, flags)))


def quantize_dynamically(proto: Any, *, per_channel: bool = True) -> bytes:
    """Returns a model after ONNX Runtime's dynamic quantization, as the content of a file.

    Args:
      proto: an `onnx.ModelProto`, which may be changed.
      per_channel: whether each output channel of a kernel has a scale, or each kernel.
    """
    quantization = require_module("onnxruntime.quantization", "onnx")
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises to infer shapes first, which changes nothing here
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.onnx")
            quantization.quantize_dynamic(proto, file, per_channel=per_channel)
            return file.read_bytes()
    finally:
        logger.setLevel(level)
