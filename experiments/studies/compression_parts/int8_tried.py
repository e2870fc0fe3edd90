"""Ways to store a large model as int8: the time of a step of one stream in two runtimes.

Such a step reads every weight once. A way that reads int8 as fast as float32 is read takes a
quarter of the time.
"""

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from compression_parts.times import MODELS, REPEATS, VOCABULARY, inputs, onnx_program
from flax import nnx
from onnx import helper, load_from_string, numpy_helper

from rnnlab.bench.timing import TimedProgram, compare_to_reference, time_interleaved
from rnnlab.export import litert, onnx
from rnnlab.export.onnx_int8 import quantize_dynamically
from rnnlab.export.onnx_int8_blocks import use_blocks
from rnnlab.models import SequenceModel
from rnnlab.models.config import count_parameters
from rnnlab.records import Record

MODEL = "mingru 1024 x 6"
BLOCKS = (32, 64, 128, 256, 512)
ONNX, LITERT = "ONNX Runtime", "LiteRT"


def steps() -> Iterator[Record]:
    """Yields the times of every way, relative to float32 in the same runtime and threads."""
    model = MODELS[MODEL].build(VOCABULARY, vocab_size=VOCABULARY, rngs=nnx.Rngs(0))
    model.eval()
    groups = {ONNX: (onnx_program, onnx_files(model))}
    if importlib.util.find_spec("ai_edge_litert"):
        groups[LITERT] = (litert_program, litert_files(model))
    for runtime, (make, contents) in groups.items():
        for threads in range(1, os.cpu_count() + 1):
            programs = [make(content, model, 1, threads) for content in contents.values()]
            seconds = time_interleaved(programs, REPEATS)
            for (weights, content), program, times in zip(
                contents.items(), programs, seconds, strict=True
            ):
                yield {
                    "part": "onnx tried",
                    "seed": 0,
                    "model": MODEL,
                    "runtime": runtime,
                    "weights": weights,
                    "parameters": count_parameters(model),
                    "bytes": len(content),
                    "batch_size": 1,
                    "threads": threads,
                    "onnxruntime": importlib.metadata.version("onnxruntime"),
                    "repeats": REPEATS,
                    **compare_to_reference(program, times, seconds[0]),
                }
            del programs


def onnx_files(model: SequenceModel) -> dict[str, bytes]:
    """Returns the files by how they have the weights."""
    content = onnx.write(model, "step")
    changes: Mapping[str, Callable[[Any], bytes]] = {
        "int8, a scale per channel": quantize_dynamically,
        "int8, a scale per kernel": partial(quantize_dynamically, per_channel=False),
        "int8, gate and candidate in one product": _merged,
        **{f"int8, blocks of {size}": partial(_in_blocks, size) for size in BLOCKS},
    }
    return {
        "float32": content,
        **{name: change(load_from_string(content)) for name, change in changes.items()},
    }


def litert_files(model: SequenceModel) -> dict[str, bytes]:
    """Returns the files by how they have the weights."""
    return {
        "float32": litert.write(model, "step"),
        "int8, dynamic range": litert.write(model, "step", int8=True),
    }


def litert_program(
    content: bytes, model: SequenceModel, streams: int, threads: int
) -> TimedProgram:
    """Returns a step of a file in LiteRT."""
    run, feeds = litert.read(content, threads), inputs(model, streams)
    return TimedProgram(lambda: run(feeds), wait=lambda results: results, launches=20)


def _in_blocks(size: int, proto: Any) -> bytes:
    use_blocks(proto, size)
    return quantize_dynamically(proto)


def _merged(proto: Any) -> bytes:
    """Makes one product of each pair of products of the same input, then quantizes."""
    graph = proto.graph
    kernels = {array.name: array for array in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        if node.op_type == "MatMul":
            readers.setdefault(node.input[0], []).append(node)
    for pair in (found for found in readers.values() if len(found) == 2):
        names = [node.input[1] for node in pair]
        arrays = [numpy_helper.to_array(kernels[name]) for name in names]
        both = f"{names[0]}.both"
        sizes = np.array([array.shape[1] for array in arrays])
        graph.initializer.append(numpy_helper.from_array(np.concatenate(arrays, 1), both))
        graph.initializer.append(numpy_helper.from_array(sizes, f"{both}.sizes"))
        outputs = [node.output[0] for node in pair]
        pair[0].CopyFrom(helper.make_node("MatMul", [pair[0].input[0], both], [f"{both}.y"]))
        # The second one, which is after the first, becomes the parts of its result.
        pair[1].CopyFrom(
            helper.make_node("Split", [f"{both}.y", f"{both}.sizes"], outputs, axis=-1)
        )
        for name in names:
            graph.initializer.remove(kernels[name])
    _sort(graph)
    return quantize_dynamically(proto)


def _sort(graph: Any) -> None:
    """Orders the nodes so that each is after those that it reads."""
    known = {array.name for array in graph.initializer} | {x.name for x in graph.input} | {""}
    left, ordered = list(graph.node), []
    while left:
        ready = [node for node in left if known.issuperset(node.input)]
        ordered += ready
        known |= {name for node in ready for name in node.output}
        left = [node for node in left if not known.issuperset(node.output)]
    del graph.node[:]
    graph.node.extend(ordered)
