"""What the speedup benchmark times: one layer, forward or a training step, in several forms.

Every form reads the same inputs, computes `loss = mean(ys ** 2)`, and in a training step returns
the updated parameters, the optimiser's state, the loss and the gradient of the inputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from rnnlab.bench.timing import Prepared, prepare
from rnnlab.cells import CELLS

PASSES = ("forward", "train")
FLAX_CELLS = {"rnn": nnx.SimpleCell, "gru": nnx.GRUCell, "lstm": nnx.OptimizedLSTMCell}
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


def cell_program(name: str, backend: str, pass_: str, problem: Problem) -> Prepared:
    """An rnnlab cell called on whole sequences."""
    cell = _cell(name, problem, backend=backend)
    graphdef, params = nnx.split(cell)

    def outputs(params, xs):
        model = nnx.merge(graphdef, params, copy=True)
        return model(model.initial_carry(xs.shape[:1]), xs)[1]

    return _prepare(outputs, params, pass_, problem)


def flax_program(name: str, pass_: str, problem: Problem) -> Prepared:
    """Flax's own cell in `flax.nnx.RNN`."""
    cell = FLAX_CELLS[name](
        problem.width, problem.width, dtype=jnp.dtype(problem.dtype), rngs=nnx.Rngs(0)
    )
    graphdef, params, rest = nnx.split(nnx.RNN(cell, rngs=nnx.Rngs(0)), nnx.Param, ...)

    def outputs(params, xs):
        return nnx.merge(graphdef, params, rest, copy=True)(xs)

    return _prepare(outputs, params, pass_, problem)


def loop_program(name: str, pass_: str, problem: Problem) -> Prepared:
    """The paper's baseline: a Python loop that calls a jitted step, and one back over its vjps."""
    cell = _cell(name, problem)
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


def _cell(name: str, problem: Problem, **options: Any) -> nnx.Module:
    return CELLS[name](
        problem.width, problem.width, rngs=nnx.Rngs(0), dtype=problem.dtype, **options
    )


def _prepare(
    outputs: Callable[[Any, Array], Array], params: Any, pass_: str, problem: Problem
) -> Prepared:
    params, xs = jax.device_put(params, problem.device), problem.inputs()
    if pass_ == "forward":
        return prepare(outputs, params, xs)
    state = jax.device_put(OPTIMIZER.init(params), problem.device)
    return prepare(partial(_train_step, outputs), params, state, xs)


def _train_step(outputs, params, state, xs):
    def loss(params, xs):
        return jnp.mean(jnp.square(outputs(params, xs).astype(jnp.float32)))

    value, (dparams, dxs) = jax.value_and_grad(loss, (0, 1))(params, xs)
    updates, state = OPTIMIZER.update(dparams, state, params)
    return optax.apply_updates(params, updates), state, value, dxs
