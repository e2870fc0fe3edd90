"""The formats of exported files: one entry per name, from which all else follows.

The module of a format defines two functions and does not import its packages before they are
called:

    write(module, form, flags) -> bytes       the content of a file, see `rnnlab.export.names`
    read(content) -> function                 runs it: function(inputs) -> outputs, arrays by name
"""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

ANY_SIZE = ((1, 1), (2, 7), (3, 64), (5, 33))
"""Batch sizes and lengths of the checks of a format whose batch and time axes are free."""

LITERT_SIZES = ((1, 32), (1, 32))
"""Those of LiteRT files, whose sizes are fixed."""

INT8_TOLERANCE = 0.1
"""Finds a broken file; what int8 costs is the loss on held-out data."""


@dataclass(frozen=True)
class Format:
    """A format of exported files.

    Attributes:
      module: name of the module that writes and reads it.
      suffix: of its files, such as ".onnx".
      packages: whose versions the report on a file names, besides jax and flax.
      sizes: batch size and length of each batch that a new file is checked on.
      tolerance: largest relative error that the check accepts.
    """

    module: str
    suffix: str
    packages: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ANY_SIZE
    tolerance: float = 5e-6

    def load(self) -> ModuleType:
        """Imports the module and returns it."""
        return import_module(self.module)


FORMATS = {
    "onnx": Format("rnnlab.export.onnx", ".onnx", ("onnx", "onnxruntime")),
    "onnx-int8": Format(
        "rnnlab.export.onnx_int8",
        ".int8.onnx",
        ("onnx", "onnxruntime"),
        tolerance=INT8_TOLERANCE,
    ),
    "onnx-int8-blocks": Format(
        "rnnlab.export.onnx_int8_blocks",
        ".int8-blocks.onnx",
        ("onnx", "onnxruntime"),
        tolerance=INT8_TOLERANCE,
    ),
    "stablehlo": Format("rnnlab.export.stablehlo", ".stablehlo", ("jaxlib", "flatbuffers")),
    "litert": Format(
        "rnnlab.export.litert", ".tflite", ("tensorflow-cpu", "ai-edge-litert"), LITERT_SIZES
    ),
    "litert-int8": Format(
        "rnnlab.export.litert_int8",
        ".int8.tflite",
        ("tensorflow-cpu", "ai-edge-litert"),
        LITERT_SIZES,
        tolerance=INT8_TOLERANCE,
    ),
}
"""The formats by the name that the command line takes."""
