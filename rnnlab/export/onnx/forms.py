"""The ONNX form of each class of cells and layers, and what such a form is written with.

A form adds the operators of a module's call to a graph. It is written once for a time step and for
a sequence: `over_time` makes it a loop where the call has a time axis. Inside a graph the time axis
is the first one, (time, batch, ...), as ONNX's loops and recurrent operators read it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flax import nnx

from rnnlab.export.names import Field, Form
from rnnlab.export.onnx.graph import Graph

Carry = Any
"""A carry whose leaves are names of values, in the structure of the module's carry."""


@dataclass(frozen=True)
class Call:
    """The form of a call and its flags.

    Attributes:
      form: "step" or "sequence".
      reset, mask: names of flags (time, batch, 1), without time for a step, or None.
      gaps: name of the gaps, float32, of the same shape, or None.
    """

    form: Form
    reset: str | None = None
    mask: str | None = None
    gaps: str | None = None

    @property
    def has_flags(self) -> bool:
        """Whether the call has one of the two flags."""
        return self.reset is not None or self.mask is not None


@dataclass(frozen=True)
class Part:
    """A module inside an exported model, with the graph and the call that its form adds to.

    Attributes:
      graph: the graph.
      module: the module.
      path: its path in the model, such as "body.layers.0.cell", which starts parameter names.
      call: the call.
    """

    graph: Graph
    module: Any
    path: str
    call: Call

    def parameter(self, name: str) -> str:
        """Returns the initializer of a parameter of this module."""
        return self.graph.parameter(self.parameter_name(name))

    def parameter_name(self, name: str) -> str:
        """Returns the name of a parameter in the whole model."""
        return f"{self.path}.{name}" if self.path else name

    def part(self, name: str, module: Any = None) -> "Part":
        """Returns a part of this module: the attribute `name`, or a module that it names."""
        module = getattr(self.module, name) if module is None else module
        return replace(self, module=module, path=self.parameter_name(name))

    def run(self, carry: Carry, x: str) -> tuple[Carry, str]:
        """Adds the operators of a call of a cell or layer.

        Returns:
          The next carry and the outputs. Inputs and outputs are 0 in padding.

        Raises:
          ValueError: the class of the module has no ONNX form.
        """
        form = CELL_FORMS.get(type(self.module))
        if form is None:
            raise _missing_form(self, "onnx_form")
        reads_tokens = getattr(self.module, "vocab_size", None) is not None
        with self.graph.scope(self.path):
            carry, y = form(self, carry, x if reads_tokens else self.masked(x))
            return carry, self.masked(y)

    def apply(self, x: str) -> str:
        """Adds the operators of a call of a module or function without a carry.

        Raises:
          ValueError: it has no ONNX form.
        """
        is_module = isinstance(self.module, nnx.Module)
        form = FUNCTION_FORMS.get(type(self.module) if is_module else self.module)
        if form is None:
            raise _missing_form(self, "onnx_function_form")
        with self.graph.scope(self.path):
            return form(self, x)

    def masked(self, x: str) -> str:
        """Returns x with 0 in padding."""
        if self.call.mask is None:
            return x
        return self.graph.op("Where", self.call.mask, x, self.graph.constant(0.0))


CellForm = Callable[[Part, Carry, str], tuple[Carry, str]]
FunctionForm = Callable[[Part, str], str]
CELL_FORMS: dict[type, CellForm] = {}
"""The forms of modules that keep the cell contract, by class."""
FUNCTION_FORMS: dict[Any, FunctionForm] = {}
"""The forms of modules without a carry, by class, and of functions."""


def onnx_form(*classes: type) -> Callable[[CellForm], CellForm]:
    """Registers a form for classes of cells or layers; a subclass needs a form of its own.

    The form is called as `form(part, carry, x)` and returns the next carry and the outputs.

    >>> from rnnlab import Dropout
    >>> CELL_FORMS[Dropout](None, (), "x")
    ((), 'x')
    """

    def register(form: CellForm) -> CellForm:
        CELL_FORMS.update(dict.fromkeys(classes, form))
        return form

    return register


def onnx_function_form(*kinds: Any) -> Callable[[FunctionForm], FunctionForm]:
    """Registers a form, `form(part, x) -> y`, for classes without a carry, or for functions."""

    def register(form: FunctionForm) -> FunctionForm:
        FUNCTION_FORMS.update(dict.fromkeys(kinds, form))
        return form

    return register


Body = Callable[[Part, list[str], list[str]], tuple[list[str], list[str]]]
"""One time step, `body(part, states, inputs) -> (states, outputs)`, whose call is a step."""


def over_time(
    part: Part, body: Body, states: Sequence[str], inputs: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Adds a recurrence: the body itself for a step, a `Scan` of it for a sequence.

    The body's call has the flags of one time step. It does not have gaps: what they change is an
    input.

    Args:
      part: the module.
      body: one time step.
      states: the states before the first time step.
      inputs: values per time step, time first.

    Returns:
      The states after the last time step, and the outputs of all time steps.
    """
    if part.call.form == "step":
        return body(part, list(states), list(inputs))
    outer, inner = part.graph, part.graph.body()
    flags = {name: getattr(part.call, name) for name in ("reset", "mask")}
    given = {name: inner.input() for name, flag in flags.items() if flag is not None}
    state_names = [inner.input() for _ in states]
    input_names = [inner.input() for _ in inputs]
    step = replace(part, graph=inner, call=Call("step", **given))
    next_states, outputs = body(step, state_names, input_names)
    # Each output of a body must have a name that no other output has.
    results = [inner.output(x) for x in (*next_states, *outputs)]
    given_fields = [Field(name, "bool", ()) for name in given.values()]
    before = [Field(name, "float32", ()) for name in state_names]
    after = [Field(name, "float32", ()) for name in input_names]
    found = outer.ops(
        "Scan",
        *states,
        *(flags[name] for name in given),
        *inputs,
        outputs=len(results),
        body=inner.proto(
            "time_step",
            before + given_fields + after,
            [Field(name, "float32", ()) for name in results],
        ),
        num_scan_inputs=len(given) + len(inputs),
    )
    return list(found[: len(states)]), list(found[len(states) :])


def _missing_form(part: Part, decorator: str) -> ValueError:
    module = part.module
    is_module = isinstance(module, nnx.Module)
    name = type(module).__name__ if is_module else getattr(module, "__name__", repr(module))
    where = f" ({part.path})" if part.path else ""
    return ValueError(
        f"no ONNX form for {name}{where}; write one with "
        f"@rnnlab.export.onnx.{decorator}({name}), or export it as stablehlo"
    )
