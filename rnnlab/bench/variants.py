"""What the speedup benchmark times: one layer, forward or a training step, in several forms.

Every form reads the same inputs, computes `loss = mean(ys ** 2)`, and in a training step returns
the updated parameters, the optimiser's state, the loss and the gradient of the inputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array, lax

from rnnlab.bench.timing import Prepared, prepare
from rnnlab.registry import cell_entries, find_cell

PASSES = ("forward", "train")
FLAX_CELLS = {k: getattr(nnx, entry.flax) for k, entry in cell_entries().items() if entry.flax}
"""Classes of `flax.nnx` by the name of the cell that they are the peer of."""
OPTIMIZER = optax.adamw(1e-3)


@dataclass(frozen=True)
class Problem:
    """Shapes and place of one measurement."""

    length: int
    batch_size: int
    width: int
    dtype: str
    device: jax.Device

    def inputs(self) -> Array:
        """Standard normal inputs: zeros would let a processor take short cuts."""
        shape = (self.batch_size, self.length, self.width)
        xs = jax.random.normal(jax.random.key(0), shape, self.dtype)
        return jax.device_put(xs, self.device)


class Form(NamedTuple):
    """A layer as a pure function: `outputs(params, xs)`, all steps', and its parameters."""

    outputs: Callable[[Any, Array], Array]
    params: Any


def cell_form(name: str, backend: str, problem: Problem) -> Form:
    """An rnnlab cell called on whole sequences."""
    return module_form(make_cell(name, problem, backend=backend))


def module_form(module: nnx.Module) -> Form:
    """Any module of the cells' contract called on whole sequences."""
    graphdef, params = nnx.split(module)

    def outputs(params, xs):
        model = nnx.merge(graphdef, params, copy=True)
        return model(model.initial_carry(xs.shape[:1]), xs)[1]

    return Form(outputs, params)


def flax_form(name: str, problem: Problem) -> Form:
    """Flax's own cell in `flax.nnx.RNN`, with the parameters of rnnlab's."""
    cell, features = make_cell(name, problem), problem.width
    dtype = jnp.dtype(problem.dtype)
    other = FLAX_CELLS[name](features, features, dtype=dtype, rngs=nnx.Rngs(0))
    kernel, bias = {"kernel": cell.kernel[...]}, {"bias": cell.bias[...]}
    recurrent = {"kernel": cell.recurrent_kernel[...]}
    in_state_layer = name == "lstm"
    weights = {
        "dense_i": kernel if in_state_layer else kernel | bias,
        "dense_h": recurrent | bias if in_state_layer else recurrent,
    }
    graphdef, params, rest = nnx.split(nnx.RNN(other, rngs=nnx.Rngs(0)), nnx.Param, ...)
    params = jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(weights))

    def outputs(params, xs):
        return nnx.merge(graphdef, params, rest, copy=True)(xs)

    return Form(outputs, params)


def plain_form(name: str, problem: Problem) -> Form:
    """A minimal cell on `plain_scan`."""
    cell = make_cell(name, problem)
    graphdef, params = nnx.split(cell)

    def outputs(params, xs):
        model = nnx.merge(graphdef, params, copy=True)
        a, b = model.gates(*model.project(xs))
        return plain_scan(a, b, model.initial_carry(xs.shape[:1]))

    return Form(outputs, params)


def plain_scan(a: Array, b: Array, h0: Array) -> Array:
    """What a user writes first: `jax.lax.associative_scan` over pairs, and JAX's own gradient."""

    def compose(earlier, later):
        return later[0] * earlier[0], later[0] * earlier[1] + later[1]

    b = b.at[..., 0, :].add(a[..., 0, :] * h0)
    return lax.associative_scan(compose, (a, b), axis=b.ndim - 2)[1]


def loop_program(name: str, pass_: str, problem: Problem) -> Prepared:
    """The paper's baseline: a Python loop that calls a jitted step, and one back over its vjps."""
    cell = make_cell(name, problem)
    graphdef, params = nnx.split(cell)
    params = jax.device_put(params, problem.device)
    xs = problem.inputs()
    start = jax.device_put(cell.initial_carry((problem.batch_size,)), problem.device)

    def step(params, carry, x):
        return nnx.merge(graphdef, params, copy=True).step(carry, x)

    @jax.jit
    def forward(params, carry, xs, t):
        return step(params, carry, xs[:, t])

    @jax.jit
    def recorded(params, carry, xs, t):
        (carry, y), pull = jax.vjp(step, params, carry, xs[:, t])
        return carry, y, pull

    @jax.jit
    def backward(pull, dcarry, y, dparams):
        # The cotangent of the loss is 2 y / count; this step's share of it enters here.
        more, dcarry, dx = pull((dcarry, 2 * y / (y.size * problem.length)))
        return jax.tree.map(jnp.add, dparams, more), dcarry, dx

    @jax.jit
    def update(params, state, gradient):
        updates, state = OPTIMIZER.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    optimizer_state = jax.device_put(OPTIMIZER.init(params), problem.device)
    zeros = jax.tree.map(jnp.zeros_like, (params, start))

    def run_forward() -> None:
        carry, ys = start, []
        for t in range(problem.length):
            carry, y = forward(params, carry, xs, t)
            ys.append(y)
        jax.block_until_ready(ys)

    def run_train() -> None:
        carry, tape = start, []
        for t in range(problem.length):
            carry, y, pull = recorded(params, carry, xs, t)
            tape.append((y, pull))
        (dparams, dcarry), dxs = zeros, []
        for y, pull in reversed(tape):
            dparams, dcarry, dx = backward(pull, dcarry, y, dparams)
            dxs.append(dx)
        jax.block_until_ready((update(params, optimizer_state, dparams), dxs))

    return Prepared(run_forward if pass_ == "forward" else run_train)


def make_cell(name: str, problem: Problem, **options: Any) -> nnx.Module:
    """The cell that every form of it is compared with, and whose parameters they have."""
    return cell_class(name)(
        problem.width, problem.width, rngs=nnx.Rngs(0), dtype=problem.dtype, **options
    )


def own_form(name: str, problem: Problem) -> Form:
    """A user's cell called on whole sequences; it needs no `dtype` unless one is asked for."""
    options = {} if problem.dtype == "float32" else {"dtype": problem.dtype}
    cell = cell_class(name)(problem.width, problem.width, rngs=nnx.Rngs(0), **options)
    return module_form(cell)


def cell_class(name: str) -> Callable[..., nnx.Module]:
    """Returns the class of a registered cell, or of a user's own as `FILE.py:CLASS`.

    Raises:
      ValueError: the cell is unknown, is not a cell, or its file cannot be loaded.
    """
    entry = find_cell(name)
    if entry.kind != "cell":
        known = ", ".join(cell_entries())
        raise ValueError(f"cells must be among {known} or FILE.py:CLASS, got {name!r}")
    return entry.load()


def form_program(form: Form, pass_: str, problem: Problem) -> Prepared:
    """A form's forward pass, or its training step."""
    params, xs = jax.device_put(form.params, problem.device), problem.inputs()
    if pass_ == "forward":
        return prepare(form.outputs, params, xs)
    state = jax.device_put(OPTIMIZER.init(params), problem.device)
    return prepare(partial(_train_step, form.outputs), params, state, xs)


def _train_step(outputs, params, state, xs):
    def loss(params, xs):
        return jnp.mean(jnp.square(outputs(params, xs).astype(jnp.float32)))

    value, (dparams, dxs) = jax.value_and_grad(loss, (0, 1))(params, xs)
    updates, state = OPTIMIZER.update(dparams, state, params)
    return optax.apply_updates(params, updates), state, value, dxs
