"""The Jacobian of a cell's state with respect to the previous state, and products of them.

A gradient that flows from time step T back to time step t is multiplied by `J[T] ... J[t+1]`. If
that product shrinks with the distance the gradient vanishes; if it grows the gradient explodes.

Source: Pascanu, Mikolov and Bengio, arXiv 1211.5063, section 2.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from rnnlab.analysis._batching import batch_axes, call_options, cast_carry, check_steps
from rnnlab.analysis.states import states
from rnnlab.call_validation import gap_option
from rnnlab.cells.backends.lax_scan import preceding
from rnnlab.cells.linear import LinearCell
from rnnlab.dtypes import accumulation_dtype
from rnnlab.validation import require_positive_int


def jacobians(
    cell: nnx.Module,
    carry: Any,
    xs: Float[Array, "*batch time in_features"],
    *,
    gaps: Float[Array, "*batch time"] | None = None,
) -> Float[Array, "*batch time state state"]:
    """`J[t] = d carry[t] / d carry[t-1]` at every time step.

    Rows and columns are entries of the carry in the order of `jax.tree.leaves`: the LSTM's c, then
    its h. A time step has (features squared) numbers: use it for a cell, not for a whole model.
    `gaps` are those of the cell's call.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import LSTM
    >>> cell = LSTM(3, 4, rngs=nnx.Rngs(0))
    >>> jacobians(cell, cell.initial_carry(()), jnp.ones((7, 3))).shape
    (7, 8, 8)
    """
    graphdef, params = nnx.split(cell)
    run = partial(_jacobians, graphdef, params)
    for _ in range(batch_axes(cell, xs)):
        run = jax.vmap(run)
    return run(cast_carry(cell, carry, xs), xs, call_options(cell, xs, gaps=gaps))


@partial(jax.jit, static_argnums=0)
def _jacobians(graphdef, params, carry, xs, options):
    cell = nnx.merge(graphdef, params, copy=True)
    after = states(cell, carry, xs, **options)
    before = preceding(after, carry)

    def at(carry, x, options):
        flat, unravel = ravel_pytree(carry)
        return jax.jacrev(lambda c: ravel_pytree(cell.step(unravel(c), x, **options)[0])[0])(flat)

    return jax.vmap(at)(before, xs, options)


def spectral_radius(matrices: Float[Array, "*batch n n"]) -> Float[Array, "*batch"]:
    """The largest magnitude of the eigenvalues. JAX computes these only on a CPU.

    >>> import jax.numpy as jnp
    >>> spectral_radius(jnp.array([[0.0, 2.0], [-2.0, 0.0]])).round(4)
    Array(2., dtype=float32)
    """
    return jnp.abs(jnp.linalg.eigvals(matrices)).max(-1)


def log_product_norms(
    matrices: Float[Array, "*batch time n n"],
) -> Float[Array, "*batch time"]:
    """The logarithm of the spectral norm of `J[T-1] ... J[t]`, for every t.

    It bounds how much a gradient of the last state grows on its way to the state before time step
    t. The norm itself would leave the range of float32 within a few hundred time steps.

    >>> import jax.numpy as jnp
    >>> print(log_product_norms(0.5 * jnp.ones((1000, 1, 1)))[0].round())  # 1000 log 0.5
    -693.0
    """
    run = _log_product_norms
    for _ in matrices.shape[:-3]:
        run = jax.vmap(run)
    return run(matrices.astype(accumulation_dtype(matrices.dtype)))


@jax.jit
def _log_product_norms(matrices):
    def body(product, matrix):
        product = product @ matrix
        size = jnp.abs(product).max()
        product = product / jnp.where(size > 0, size, 1)
        return product, (jnp.log(size), jnp.log(jnp.linalg.norm(product, 2)))

    start = jnp.eye(matrices.shape[-1], dtype=matrices.dtype)
    sizes, rest = lax.scan(body, start, matrices, reverse=True)[1]
    return lax.cumsum(sizes, reverse=True) + rest


def lyapunov_exponents(
    cell: nnx.Module,
    carry: Any,
    xs: Float[Array, "*batch time in_features"],
    count: int = 1,
    *,
    gaps: Float[Array, "*batch time"] | None = None,
) -> Float[Array, "*batch count"]:
    """The `count` largest rates per time step at which small differences of the state grow.

    With a negative exponent differences shrink: the cell forgets. For a linear cell whose carry is
    its state, the exponents are the means of `log |a|` over time, and exact. For other cells
    tangents are propagated and orthogonalized at every time step, which is exact in the limit of
    long sequences: the error over T time steps is about log(c) / T, where c is the component of the
    first tangents along the leading directions. `gaps` are those of the cell's call.

    Raises:
      ValueError: `count` exceeds the numbers in a carry.

    Source: Benettin et al., "Lyapunov characteristic exponents", Meccanica 15 (1980).

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import GRU
    >>> cell = GRU(3, 4, rngs=nnx.Rngs(0))
    >>> bool(lyapunov_exponents(cell, cell.initial_carry(()), jnp.ones((50, 3)))[0] < 0)
    True
    """
    require_positive_int(count=count)
    size = sum(x.size for x in jax.tree.leaves(jax.eval_shape(lambda: cell.initial_carry(()))))
    if count > size:
        raise ValueError(f"count must be <= {size}, the numbers in the state, got {count}")
    axes = batch_axes(cell, xs)
    check_steps(xs, axes)
    if _has_diagonal_jacobian(cell):
        rates = jnp.log(jnp.abs(decays(cell, carry, xs, gaps=gaps))).mean(-2)
        return lax.top_k(rates, count)[0]
    graphdef, params = nnx.split(cell)
    run = partial(_exponents, graphdef, count, params)
    for _ in range(axes):
        run = jax.vmap(run)
    return run(cast_carry(cell, carry, xs), xs, call_options(cell, xs, gaps=gaps))


@partial(jax.jit, static_argnums=(0, 1))
def _exponents(graphdef, count, params, carry, xs, options):
    cell = nnx.merge(graphdef, params, copy=True)
    flat, unravel = ravel_pytree(carry)
    # The first columns are the same ones for every count.
    start = jax.random.normal(jax.random.key(0), (count, flat.size), flat.dtype).T

    def body(at, inputs):
        state, tangents = at
        x, options = inputs

        def step(state):
            return ravel_pytree(cell.step(unravel(state), x, **options)[0])[0]

        state, push = jax.linearize(step, state)
        tangents, triangle = jnp.linalg.qr(jax.vmap(push, 1, 1)(tangents))
        return (state, tangents), jnp.log(jnp.abs(jnp.diagonal(triangle)))

    growth = lax.scan(body, (flat, jnp.linalg.qr(start)[0]), (xs, options))[1]
    return -jnp.sort(-growth.mean(0))


def decays(
    cell: LinearCell,
    carry: Any,
    xs: Float[Array, "*batch time in_features"],
    *,
    gaps: Float[Array, "*batch time"] | None = None,
) -> Float[Array, "*batch time features"]:
    """The decays `a` of a linear cell at every time step, or their magnitudes if they are complex.

    They are the diagonal of the Jacobian of the state, whose other entries are 0. With `gaps` of
    the cell's call they include the decay with the time since the previous input.

    Raises:
      ValueError: the cell has no decay per feature.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import MinGRU
    >>> cell = MinGRU(3, 4, rngs=nnx.Rngs(0))
    >>> decays(cell, cell.initial_carry(()), jnp.zeros((1, 3)))
    Array([[0.5, 0.5, 0.5, 0.5]], dtype=float32)
    """
    options = call_options(cell, xs, gaps=gaps)
    gates = cell.gate_values(carry, xs, **options) if isinstance(cell, LinearCell) else {}
    if "decay" not in gates:
        raise ValueError(
            f"cell must have one decay per feature, got {type(cell).__name__}; pass a linear cell"
        )
    low, high = cell.decay_range
    return low + (high - low) * gates["decay"]


def _has_diagonal_jacobian(cell: nnx.Module) -> bool:
    """Whether the carry is the state of one linear recurrence with one decay per entry."""
    if not isinstance(cell, LinearCell):
        return False

    def example():
        carry, xs = cell.initial_carry(()), jnp.zeros((1, cell.in_features))
        return carry, cell.gate_values(carry, xs, **gap_option(cell, jnp.zeros(1)))

    carry, gates = jax.eval_shape(example)
    shapes = [x.shape for x in jax.tree.leaves(carry)]
    return "decay" in gates and shapes == [gates["decay"].shape[1:]]
