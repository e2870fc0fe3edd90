"""Times of integer weights: steps in ONNX Runtime, and products in XLA."""

import importlib.metadata
import os
from collections.abc import Iterator
from functools import partial

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from rnnlab.bench.timing import (
    TimedProgram,
    compare_to_reference,
    compile_program,
    time_interleaved,
)
from rnnlab.export import onnx, onnx_int8, onnx_int8_blocks
from rnnlab.export.names import Field, input_fields
from rnnlab.models import ModelConfig
from rnnlab.models.config import count_parameters
from rnnlab.records import Record

REPEATS = 15
VOCABULARY = 96
MODELS = {
    "mingru 128 x 2": ModelConfig("mingru", width=128, depth=2),
    "mingru 512 x 4": ModelConfig("mingru", width=512, depth=4),
    "mingru 1024 x 6": ModelConfig("mingru", width=1024, depth=6),
    "gru 512 x 4": ModelConfig("gru", width=512, depth=4),
}
"""Models with random weights: a step takes the same time whatever their values are."""
STREAMS = (1, 64)
SHAPES = ((1, 2048, 8192), (64, 2048, 8192))
"""Rows, inputs and outputs of a product."""


def onnx_steps() -> Iterator[Record]:
    """Yields the times of one time step in ONNX Runtime, of float32 and of both forms of int8."""
    threads = os.cpu_count()
    for name, config in MODELS.items():
        model = config.build(VOCABULARY, vocab_size=VOCABULARY, rngs=nnx.Rngs(0))
        model.eval()
        contents = {
            "float32": onnx.write(model, "step"),
            "int8": onnx_int8.write(model, "step"),
            "int8 in blocks": onnx_int8_blocks.write(model, "step"),
        }
        for streams in STREAMS:
            programs = [
                onnx_program(content, model, streams, threads) for content in contents.values()
            ]
            seconds = time_interleaved(programs, REPEATS)
            for weights, program, times in zip(contents, programs, seconds, strict=True):
                yield {
                    "part": "onnx",
                    "seed": 0,
                    "model": name,
                    "weights": weights,
                    "parameters": count_parameters(model),
                    "bytes": len(contents[weights]),
                    "batch_size": streams,
                    "threads": threads,
                    "onnxruntime": importlib.metadata.version("onnxruntime"),
                    "repeats": REPEATS,
                    **compare_to_reference(program, times, seconds[0]),
                }
            del programs


def xla_products() -> Iterator[Record]:
    """Yields the times of products with a matrix of weights, by how the weights are stored."""
    for rows, inputs, outputs in SHAPES:
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.normal(size=(rows, inputs)), jnp.float32)
        w = jnp.asarray(rng.normal(size=(inputs, outputs)) / np.sqrt(inputs), jnp.float32)
        integers = jnp.round(w * (127 / jnp.abs(w).max())).astype(jnp.int8)
        rounded = jnp.round(x * (127 / jnp.abs(x).max())).astype(jnp.int8)
        to_int32 = partial(jnp.dot, preferred_element_type=jnp.int32)
        forms = {
            "float32": (jnp.dot, x, w),
            "bfloat16": (jnp.dot, x.astype(jnp.bfloat16), w.astype(jnp.bfloat16)),
            "int8 weights, widened to float32": (_widened, x, integers),
            "int8 x int8 to int32": (to_int32, rounded, integers),
        }
        programs = [compile_program(*form) for form in forms.values()]
        seconds = time_interleaved(programs, REPEATS)
        for form, program, times in zip(forms, programs, seconds, strict=True):
            yield {
                "part": "xla",
                "seed": 0,
                "shape": [rows, inputs, outputs],
                "weights": form,
                "repeats": REPEATS,
                **compare_to_reference(program, times, seconds[0]),
            }


def _widened(x: Array, integers: Array) -> Array:
    return x @ integers.astype(x.dtype)


def onnx_program(content: bytes, model: nnx.Module, streams: int, threads: int) -> TimedProgram:
    """Returns a step of a file in ONNX Runtime."""
    session = onnx.open_session(content, threads)
    feeds = inputs(model, streams)
    return TimedProgram(lambda: session.run(None, feeds), wait=lambda results: results, launches=20)


def inputs(model: nnx.Module, streams: int) -> dict[str, np.ndarray]:
    """Returns random inputs of a step by name."""
    rng = np.random.default_rng(0)
    return {field.name: _values(field, streams, rng) for field in input_fields(model, "step")}


def _values(field: Field, streams: int, rng: np.random.Generator) -> np.ndarray:
    shape = (streams, *field.shape[1:])
    if field.dtype == "int32":
        return rng.integers(0, VOCABULARY, shape, np.int32)
    return rng.normal(size=shape).astype(np.float32)
