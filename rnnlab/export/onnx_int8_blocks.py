"""ONNX files with weights of int8 in blocks, for one stream or a few in ONNX Runtime.

A step of one stream reads every weight once, so its time is that of reading weights. ONNX Runtime's
operator `MatMulNBits` reads them nearly as fast as the memory allows, which that of its dynamic
quantization, `MatMulInteger`, does not; many rows at a time are faster with the latter.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
from flax import nnx

from rnnlab.export import onnx
from rnnlab.export.names import Form
from rnnlab.export.onnx import read as read
from rnnlab.export.onnx_int8 import quantize_dynamically
from rnnlab.optional import require_module

DOMAIN = "com.microsoft"
"""Of the operators that ONNX Runtime adds to those of ONNX."""

BLOCK_SIZE = 256
"""Inputs of an output channel that share a scale. Smaller blocks are slower."""

SMALLEST_BLOCK = 16
INT8_INPUTS = 4
"""The value of `accuracy_level` for which the operator rounds inputs and multiplies integers."""

LARGEST, ZERO = 127, 128
"""Integers are -127 to 127; the file has them plus 128."""


def write(module: nnx.Module, form: Form, flags: Collection[str] = ()) -> bytes:
    """Returns a module as the content of an ONNX file with weights of int8 in blocks.

    Products by a kernel have a scale for each block of inputs of an output channel, and round their
    inputs block by block. The rows of an embedding, an LSTM and what else remains is as in
    `rnnlab.export.onnx_int8`.

    Raises:
      ValueError: as `rnnlab.export.onnx.write`, or a package is not installed.
    """
    onnx_package = require_module("onnx", "onnx")
    proto = onnx_package.load_from_string(onnx.write(module, form, flags))
    use_blocks(proto)
    return quantize_dynamically(proto)


def use_blocks(proto: Any, block_size: int = BLOCK_SIZE) -> None:
    """Replaces products by a constant kernel, outside of loops, by products with integers.

    Args:
      proto: an `onnx.ModelProto`, which is changed.
      block_size: inputs of an output channel that share a scale, a power of 2 >= 16. A kernel with
        fewer inputs has smaller blocks.
    """
    helper = require_module("onnx.helper", "onnx")
    numpy_helper = require_module("onnx.numpy_helper", "onnx")
    graph = proto.graph
    kernels = {array.name: array for array in graph.initializer if len(array.dims) == 2}
    written: set[str] = set()
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in kernels:
            continue
        x, name = node.input
        inputs, outputs = kernels[name].dims
        size = min(block_size, max(SMALLEST_BLOCK, 1 << (inputs - 1).bit_length()))
        weights = [f"{name}.integers", f"{name}.scales"]
        if name not in written:
            arrays = to_blocks(numpy_helper.to_array(kernels[name]), size)
            graph.initializer.extend(map(numpy_helper.from_array, arrays, weights))
            written.add(name)
        product = helper.make_node(
            *("MatMulNBits", [x, *weights], list(node.output), node.name),
            domain=DOMAIN,
            K=inputs,
            N=outputs,
            bits=8,
            block_size=size,
            accuracy_level=INT8_INPUTS,
        )
        node.CopyFrom(product)
    read_elsewhere = {name for node in graph.node for name in node.input}
    for name in written - read_elsewhere:
        graph.initializer.remove(kernels[name])
    proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def to_blocks(kernel: np.ndarray, block_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a kernel (inputs, outputs) as the integers and scales of `MatMulNBits`.

    Returns:
      Integers (outputs, blocks, block_size) of uint8, where 128 stands for 0, and scales (outputs *
      blocks) of float32. The last block is filled with zeros.

    >>> kernel = np.array([[1.0], [-254.0], [0.0]], np.float32)
    >>> integers, scales = to_blocks(kernel, 16)
    >>> integers.shape, integers[0, 0, :4].tolist(), scales.tolist()
    ((1, 1, 16), [128, 1, 128, 128], [2.0])
    """
    inputs, outputs = kernel.shape
    count = -(-inputs // block_size)
    blocks = np.zeros((outputs, count * block_size), np.float32)
    blocks[:, :inputs] = kernel.T
    blocks = blocks.reshape(outputs, count, block_size)
    scales = np.abs(blocks).max(-1) / LARGEST
    units = np.where(scales > 0, scales, 1)[..., None]
    return (np.rint(blocks / units) + ZERO).astype(np.uint8), scales.ravel().astype(np.float32)
