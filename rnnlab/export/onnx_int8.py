"""ONNX files with weights of int8, whose products quantize their inputs as they run."""

import logging
import tempfile
from collections.abc import Collection
from pathlib import Path

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
    content = onnx.write(module, form, flags)
    quantization = require_module("onnxruntime.quantization", "onnx")
    proto = require_module("onnx", "onnx").load_from_string(content)
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises to infer shapes first, which changes nothing here
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.onnx")
            quantization.quantize_dynamic(proto, file, per_channel=True)
            return file.read_bytes()
    finally:
        logger.setLevel(level)
