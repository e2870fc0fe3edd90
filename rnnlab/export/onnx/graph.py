"""An ONNX graph that grows by one operator per call."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from rnnlab.export.names import Field
from rnnlab.optional import require_module

OPSET = 20
IR_VERSION = 9
"""The operators of ONNX 1.15 (2023) and the file version of that release."""

END = np.iinfo(np.int64).max
"""End of a slice that reaches the last entry."""


class Graph:
    """A graph of ONNX operators. Values are named by strings.

    An operator that was added before with the same inputs and attributes is not added again. The
    graph of a loop's body reads the values of the graph around it, and passes on to that graph what
    does not depend on the loop.

    Args:
      parameters: arrays by name, which become initializers of the same name where they are used.
      outer: the graph around this one; None for a whole model.
    """

    def __init__(self, parameters: Mapping[str, np.ndarray], outer: "Graph | None" = None):
        self._helper = require_module("onnx.helper", "onnx")
        self._numpy_helper = require_module("onnx.numpy_helper", "onnx")
        self._outer = outer
        self._root: Graph = self if outer is None else outer._root
        self._parameters = parameters
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._known: dict[Any, tuple[str, ...]] = {}
        self._own: set[str] = set()
        self._outputs: dict[str, str] = {}
        self._count = 0
        self._scope = "" if outer is None else outer._scope

    def body(self) -> "Graph":
        """Returns the empty graph of a loop's body."""
        return Graph(self._parameters, self)

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Starts the names of new values with `name`, the path of a module."""
        before, self._scope = self._scope, name
        try:
            yield
        finally:
            self._scope = before

    def input(self, name: str | None = None) -> str:
        """Declares an input and returns its name."""
        name = name or self._new_name("input")
        self._own.add(name)
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds an operator with one output and returns the output's name."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:
        """Adds an operator and returns the names of its outputs."""
        if self._outer is not None and not self._own.intersection(inputs):
            return self._outer.ops(kind, *inputs, outputs=outputs, **attributes)
        key = (kind, inputs, outputs, tuple(sorted((k, str(v)) for k, v in attributes.items())))
        if key not in self._known:
            names = tuple(self._new_name(kind) for _ in range(outputs))
            node = self._helper.make_node(kind, inputs, names, name=names[0], **attributes)
            self._nodes.append(node)
            self._own.update(names)
            self._known[key] = names
        return self._known[key]

    def output(self, x: str, name: str | None = None) -> str:
        """Returns the name of x as an output of the graph: `name`, or one that no other output has.

        It is a copy where x is not the result of an operator, or already an output.
        """
        results = {result for node in self._nodes for result in node.output}
        if x in results and x not in self._outputs:
            self._outputs[x] = name or x
            return self._outputs[x]
        name = name or self._new_name("Identity")
        self._nodes.append(self._helper.make_node("Identity", [x], [name], name=name))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Returns the name of an initializer with a value; equal ones are stored once."""
        array = np.asarray(value, dtype)
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        known = self._root._known
        if key not in known:
            known[key] = (self._root._new_name("constant"),)
            self._root._add_initializer(known[key][0], array)
        return known[key][0]

    def integers(self, *values: int) -> str:
        """Returns the name of a vector of 64-bit integers."""
        return self.constant(values, np.int64)

    def parameter(self, name: str) -> str:
        """Returns the name of a parameter's initializer, which is the parameter's own."""
        return self.derived(name, self._parameters[name])

    def array(self, name: str) -> np.ndarray:
        """Returns the values of a parameter, to derive an initializer of another layout."""
        return self._parameters[name]

    def derived(self, name: str, array: np.ndarray) -> str:
        """Returns the name of an initializer of another layout, which its name states."""
        if name not in self._root._initializers:
            self._root._add_initializer(name, np.ascontiguousarray(array))
        return name

    def unsqueeze(self, x: str, axis: int) -> str:
        """Adds an axis of size 1."""
        return self.op("Unsqueeze", x, self.integers(axis))

    def squeeze(self, x: str, axis: int) -> str:
        """Removes an axis of size 1."""
        return self.op("Squeeze", x, self.integers(axis))

    def slice(self, x: str, start: int, end: int, axis: int, step: int = 1) -> str:
        """Returns `x[start:end:step]` along an axis."""
        ranges = (self.integers(value) for value in (start, end, axis, step))
        return self.op("Slice", x, *ranges)

    def split(self, x: str, sizes: Sequence[int], axis: int = -1) -> tuple[str, ...]:
        """Splits an axis into parts of the given sizes."""
        return self.ops("Split", x, self.integers(*sizes), outputs=len(sizes), axis=axis)

    def pad(self, x: str, before: Sequence[int], after: Sequence[int], value: Any = None) -> str:
        """Adds entries before and after each axis: of `value`, else 0 or False.

        All axes are given: ONNX Runtime 1.32 moves a transpose past a `Pad` of some axes wrongly.
        """
        fill = () if value is None else (self.constant(value),)
        return self.op("Pad", x, self.integers(*before, *after), *fill)

    def concat(self, xs: Sequence[str], axis: int) -> str:
        """Concatenates values along an axis."""
        return self.op("Concat", *xs, axis=axis)

    def transpose(self, x: str, *order: int) -> str:
        """Returns x with its axes in another order."""
        return self.op("Transpose", x, perm=list(order))

    def cast(self, x: str, dtype: str) -> str:
        """Returns x in the dtype of a NumPy name."""
        return self.op("Cast", x, to=self._element_type(dtype))

    def dense(self, x: str, kernel: str, bias: str | None = None) -> str:
        """Returns `x @ kernel + bias`."""
        y = self.op("MatMul", x, kernel)
        return y if bias is None else self.op("Add", y, bias)

    def where(self, flag: str | None, x: str, y: str) -> str:
        """Returns x where the flag is set, else y; None is a flag that is never set."""
        return y if flag is None else self.op("Where", flag, x, y)

    def proto(self, name: str, inputs: Sequence[Field], outputs: Sequence[Field]) -> Any:
        """Returns the graph as a protocol buffer."""
        graph = self._helper.make_graph(
            self._nodes,
            name,
            [self._value(field) for field in inputs],
            [self._value(field) for field in outputs],
            list(self._initializers.values()),
        )
        _rename(graph, self._outputs)
        return graph

    def _value(self, field: Field) -> Any:
        element_type = self._element_type(field.dtype)
        # The shapes in a loop's body follow from those of the loop's inputs.
        shape = field.shape if self._outer is None else None
        return self._helper.make_tensor_value_info(field.name, element_type, shape)

    def _element_type(self, dtype: str) -> int:
        return self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def _add_initializer(self, name: str, array: np.ndarray) -> None:
        self._initializers[name] = self._numpy_helper.from_array(array, name)

    def _new_name(self, kind: str) -> str:
        self._root._count += 1
        name = f"{kind}_{self._root._count}"
        return f"{self._scope}/{name}" if self._scope else name


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    """Renames values of a graph, also where the bodies of its loops read them."""
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)
