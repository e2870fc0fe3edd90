"""The variants of a layer that the benchmarks compare: one layer, forward or a training step.

Every variant reads the same inputs, computes `loss = mean(ys ** 2)`, and in a training step returns
the updated parameters, the optimizer state, the loss and the gradient of the inputs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx, traverse_util
from jax import Array, lax

from rnnlab.bench.base import Workload
from rnnlab.bench.timing import TimedProgram, compile_program
from rnnlab.cells.minimal import MinimalCell
from rnnlab.interop import flax as flax_weights
from rnnlab.registry import cell_entries, find_cell
from rnnlab.scan import resolve_backend

PASSES = ("forward", "train")
OPTIMIZER = optax.adamw(1e-3)


class LayerVariant(NamedTuple):
    """A layer as a pure function: `outputs(params, xs)` of all time steps, and its parameters."""

    outputs: Callable[[Any, Array], Array]
    params: Any


def cell_variant(name: str, backend: str, workload: Workload) -> LayerVariant:
    """An rnnlab cell called on whole sequences."""
    return module_variant(make_cell(name, workload, backend=backend))


def module_variant(module: nnx.Module) -> LayerVariant:
    """Any module that keeps the contract of cells, called on whole sequences."""
    graphdef, params = nnx.split(module)

    def outputs(params, xs):
        model = nnx.merge(graphdef, params, copy=True)
        return model(model.initial_carry(xs.shape[:1]), xs)[1]

    return LayerVariant(outputs, params)


def user_variant(name: str, workload: Workload) -> LayerVariant:
    """A user's cell. Its constructor needs no `dtype` unless the benchmark's is not float32."""
    options = {} if workload.dtype == "float32" else {"dtype": workload.dtype}
    cell = find_cell(name).load()(workload.width, workload.width, rngs=nnx.Rngs(0), **options)
    return module_variant(cell)


def flax_variant(name: str, workload: Workload) -> LayerVariant:
    """Flax's own cell in `flax.nnx.RNN`, with the parameters of rnnlab's."""
    features, dtype = workload.width, jnp.dtype(workload.dtype)
    flax_class = getattr(nnx, find_cell(name).flax)
    flax_cell = flax_class(features, features, dtype=dtype, rngs=nnx.Rngs(0))
    weights = flax_weights.state_dict(make_cell(name, workload))
    nnx.update(flax_cell, traverse_util.unflatten_dict(weights, sep=".")["0"])
    graphdef, params, rest = nnx.split(nnx.RNN(flax_cell, rngs=nnx.Rngs(0)), nnx.Param, ...)

    def outputs(params, xs):
        return nnx.merge(graphdef, params, rest, copy=True)(xs)

    return LayerVariant(outputs, params)


def naive_variant(name: str, workload: Workload) -> LayerVariant:
    """A minimal cell on `naive_associative_scan`."""
    cell = make_cell(name, workload)
    graphdef, params = nnx.split(cell)

    def outputs(params, xs):
        model = nnx.merge(graphdef, params, copy=True)
        a, b = model.coefficients(*model.preactivations(xs))
        return naive_associative_scan(a, b, model.initial_carry(xs.shape[:1]))

    return LayerVariant(outputs, params)


def naive_associative_scan(a: Array, b: Array, h0: Array) -> Array:
    """The simplest parallel form: `jax.lax.associative_scan` over pairs and JAX's gradient."""

    def compose(earlier, later):
        return later[0] * earlier[0], later[0] * earlier[1] + later[1]

    b = b.at[..., 0, :].add(a[..., 0, :] * h0)
    return lax.associative_scan(compose, (a, b), axis=b.ndim - 2)[1]


def python_loop(name: str, pass_: str, workload: Workload) -> TimedProgram:
    """The paper's baseline: a Python loop that calls a jitted step, and one back over its VJPs."""
    cell = make_cell(name, workload)
    graphdef, params = nnx.split(cell)
    params = jax.device_put(params, workload.device)
    xs = workload.inputs()
    start = jax.device_put(cell.initial_carry((workload.batch_size,)), workload.device)

    def step(params, carry, x):
        return nnx.merge(graphdef, params, copy=True).step(carry, x)

    @jax.jit
    def forward(params, carry, xs, t):
        return step(params, carry, xs[:, t])

    @jax.jit
    def recorded(params, carry, xs, t):
        (carry, y), vjp = jax.vjp(step, params, carry, xs[:, t])
        return carry, y, vjp

    @jax.jit
    def backward(vjp, dcarry, y, dparams):
        # The cotangent of the loss with respect to y is 2 y / size: this time step's part of it.
        more, dcarry, dx = vjp((dcarry, 2 * y / (y.size * workload.length)))
        return jax.tree.map(jnp.add, dparams, more), dcarry, dx

    @jax.jit
    def update(params, state, gradient):
        updates, state = OPTIMIZER.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    optimizer_state = jax.device_put(OPTIMIZER.init(params), workload.device)
    zeros = jax.tree.map(jnp.zeros_like, (params, start))

    def run_forward() -> Any:
        carry, ys = start, []
        for t in range(workload.length):
            carry, y = forward(params, carry, xs, t)
            ys.append(y)
        return ys

    def run_train() -> Any:
        carry, tape = start, []
        for t in range(workload.length):
            carry, y, vjp = recorded(params, carry, xs, t)
            tape.append((y, vjp))
        (dparams, dcarry), dxs = zeros, []
        for y, vjp in reversed(tape):
            dparams, dcarry, dx = backward(vjp, dcarry, y, dparams)
            dxs.append(dx)
        return update(params, optimizer_state, dparams), dxs

    return TimedProgram(run_forward if pass_ == "forward" else run_train)


def make_cell(name: str, workload: Workload, **options: Any) -> nnx.Module:
    """The cell whose parameters all variants of it have."""
    return find_cell(name).load()(
        workload.width, workload.width, rngs=nnx.Rngs(0), dtype=workload.dtype, **options
    )


def running_backends(
    name: str, backends: Sequence[str], platform: str, width: int
) -> dict[str, str]:
    """The scans that run for a linear cell, each with the first of `backends` that selects it."""
    # The state of another linear cell is wider than the cell: Mamba's is 32 times as wide.
    features = {"features": width} if issubclass(find_cell(name).load(), MinimalCell) else {}
    running: dict[str, str] = {}
    for backend in backends:
        running.setdefault(resolve_backend(backend, platform, **features), backend)
    return running


def require_cell(name: str) -> None:
    """Raises ValueError unless the name is that of a cell, or `FILE.py:CLASS`."""
    if find_cell(name).kind != "cell":
        known = ", ".join(cell_entries())
        raise ValueError(f"cells must be cells ({known}, or FILE.py:CLASS), got {name!r}")


def variant_program(variant: LayerVariant, pass_: str, workload: Workload) -> TimedProgram:
    """A variant's forward pass, or its training step."""
    params, xs = jax.device_put(variant.params, workload.device), workload.inputs()
    if pass_ == "forward":
        return compile_program(variant.outputs, params, xs)
    state = jax.device_put(OPTIMIZER.init(params), workload.device)
    return compile_program(partial(_train_step, variant.outputs), params, state, xs)


def with_gradients(outputs: Callable[[Any, Array], Array]) -> Callable[..., tuple[Array, Any]]:
    """A function of (params, xs, dys): the outputs, and the cotangents of params and xs."""

    def run(params, xs, dys):
        ys, vjp = jax.vjp(outputs, params, xs)
        return ys, vjp(dys)

    return run


def _train_step(outputs, params, state, xs):
    def loss(params, xs):
        return jnp.mean(jnp.square(outputs(params, xs).astype(jnp.float32)))

    value, (dparams, dxs) = jax.value_and_grad(loss, (0, 1))(params, xs)
    updates, state = OPTIMIZER.update(dparams, state, params)
    return optax.apply_updates(params, updates), state, value, dxs
