"""Static quantization of ONNX Runtime: scales of inputs from training text, not of the moment.

The file has pairs of QuantizeLinear and DequantizeLinear (the form QDQ), which the runtime turns
into operators of integers. Two files are made: one with products and the embedding quantized, and
one with every operator that ONNX Runtime quantizes by default. The carries are float32 in both.
"""

import importlib.metadata
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from compression_parts.times import REPEATS, STREAMS, onnx_program
from deployed_model import loss, text
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from rnnlab.bench.steps import onnx_step
from rnnlab.bench.timing import compare_to_reference, time_interleaved
from rnnlab.export import INPUTS, onnx, onnx_int8
from rnnlab.models import SequenceModel
from rnnlab.models.config import count_parameters
from rnnlab.records import Record
from rnnlab.tasks.data import TaskData

WINDOWS = 64
"""Windows of the test part that are read in parallel."""
OPERATORS = {"products and embedding": ["MatMul", "Gather"], "all operators": None}
"""What is quantized; None is ONNX Runtime's default."""


def steps(model: SequenceModel, data: TaskData) -> Iterator[Record]:
    """Yields the loss of a trained model and the time of its step, by form of quantization."""
    model.eval()
    content = onnx.write(model, "step")
    contents = {"float32": content, "dynamic": onnx_int8.write(model, "step")}
    feeds = calibration(content, model, data)
    for name, operators in OPERATORS.items():
        contents[f"static, {name}"] = quantize(content, feeds, operators)
    windows = text(data, WINDOWS)
    losses = {
        name: loss(onnx_step(content, model, WINDOWS, 1), windows)
        for name, content in contents.items()
    }
    for streams in STREAMS:
        programs = [onnx_program(content, model, streams, 1) for content in contents.values()]
        seconds = time_interleaved(programs, REPEATS)
        for (name, content), program, times in zip(
            contents.items(), programs, seconds, strict=True
        ):
            yield {
                "part": "onnx static",
                "weights": name,
                "parameters": count_parameters(model),
                "bytes": len(content),
                "batch_size": streams,
                "threads": 1,
                "onnxruntime": importlib.metadata.version("onnxruntime"),
                "repeats": REPEATS,
                "nll": losses[name],
                "nll_change": losses[name] - losses["float32"],
                **compare_to_reference(program, times, seconds[0]),
            }


def calibration(content: bytes, model: SequenceModel, data: TaskData) -> list[dict[str, Any]]:
    """Returns the inputs and carries of each time step of a training batch."""
    tokens = np.ascontiguousarray(np.asarray(data.train_batch(0).inputs).T)
    program = onnx_step(content, model, tokens.shape[1], 1)
    carry, feeds = program.start(), []
    for token in tokens:
        feeds.append({INPUTS: token, **carry})
        carry, _ = program.step(carry, token)
    return feeds


def quantize(
    content: bytes, feeds: list[Mapping[str, np.ndarray]], operators: list[str] | None
) -> bytes:
    """Returns a file with weights of int8 per channel and inputs of uint8, as its content."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # it advises to infer shapes first
    try:
        with tempfile.TemporaryDirectory() as folder:
            whole, small = Path(folder, "whole.onnx"), Path(folder, "small.onnx")
            whole.write_bytes(content)
            quantize_static(
                whole,
                small,
                Feeds(feeds),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=operators,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            return small.read_bytes()
    finally:
        logging.getLogger().setLevel(level)


class Feeds(CalibrationDataReader):
    """Inputs by name that ONNX Runtime reads one after another."""

    def __init__(self, feeds: list[Mapping[str, np.ndarray]]):
        self._left = iter(feeds)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """Returns the next inputs, None at the end."""
        return next(self._left, None)
