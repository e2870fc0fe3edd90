"""Models as LiteRT (TensorFlow Lite) files, for phones and other small devices.

JAX traces the model, `jax.experimental.jax2tf` turns the program into a TensorFlow function, and
TensorFlow's converter writes it in built-in operators. Batch size and length are fixed. A file has
one signature, whose inputs and outputs have the names of `rnnlab.export.names`. Reading it needs
ai-edge-litert only.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from flax import nnx

from rnnlab.export.named_call import named_call
from rnnlab.export.names import BATCH, TIME, Form, input_fields
from rnnlab.optional import require_module
from rnnlab.validation import require_positive_int

LENGTH = 32
"""Time steps of the file of a sequence, unless another length is given."""


def write(
    module: nnx.Module,
    form: Form,
    flags: Collection[str] = (),
    *,
    batch_size: int = 1,
    length: int = LENGTH,
    int8: bool = False,
) -> bytes:
    """Returns a module as the content of a LiteRT file in built-in operators.

    The file computes what the module computes in evaluation mode. Its inputs and outputs are those
    of `rnnlab.export.names`. A sequence of another length runs in pieces, each from the carry
    after the one before it, the last one padded by the flag "mask".

    Args:
      module: a cell, layer, stack or model.
      form: "step" or "sequence".
      flags: which of "reset" and "mask" are inputs.
      batch_size, length: the fixed sizes.
      int8: whether kernels and embeddings are int8 and the inputs of a matmul are rounded to int8
        at run time ("dynamic range quantization"). The converter leaves small kernels as they are.

    Raises:
      ValueError: a size is below 1, a model with `Bidirectional` has no step, or the packages of
        the extra `litert` are not installed.
    """
    require_positive_int(batch_size=batch_size, length=length)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its warnings are not for the user
    tf = require_module("tensorflow", "litert")
    jax2tf = require_module("jax.experimental.jax2tf", "litert")
    sizes = {BATCH: batch_size, TIME: length}
    signature = [
        tf.TensorSpec([sizes.get(size, size) for size in field.shape], field.dtype, field.name)
        for field in input_fields(module, form, flags)
    ]
    names = [spec.name for spec in signature]
    call = named_call(module, form)
    traced = jax2tf.convert(
        lambda *arrays: call(dict(zip(names, arrays, strict=True))), with_gradient=False
    )
    program = tf.Module()
    program.call = tf.function(traced, input_signature=signature, autograph=False)
    with tempfile.TemporaryDirectory() as folder, _quiet_logger("absl"):
        # Only a saved model keeps the names of inputs and outputs. TensorFlow warns that "carry.0"
        # is not an identifier, which the name of an input does not have to be.
        tf.saved_model.save(program, folder, signatures=program.call.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


@contextmanager
def _quiet_logger(name: str) -> Iterator[None]:
    """Drops warnings of a logger."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def read(
    content: bytes, threads: int = 1
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Returns the function of a LiteRT file, from arrays by name to arrays by name.

    Args:
      content: of the file.
      threads: of each operator. One is fastest for small models.

    Raises:
      ValueError: the package ai-edge-litert is not installed.
    """
    runtime = require_module("ai_edge_litert.interpreter", "litert")
    interpreter = runtime.Interpreter(model_content=content, num_threads=threads)
    run_signature = interpreter.get_signature_runner()
    names = list(run_signature.get_input_details())

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(run_signature(**{name: np.asarray(inputs[name]) for name in names}))

    return run
