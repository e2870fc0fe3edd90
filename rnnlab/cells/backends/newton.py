"""Nonlinear cells in parallel over time: all states together, by a quasi-Newton iteration.

A sequence of states is the root of `f(S[t-1], x[t]) - S[t]`. At a guess, one evaluation of `f` at
all steps gives the residuals r; its derivative gives the correction, through a linear
recurrence. The whole derivative would have `features` squared numbers per step. Here each unit
keeps only the part with respect to its own states, as the product `p q'` of two vectors over them
(one state in the RNN and the GRU, c and h in the LSTM), so that the correction is a scan over
`features` numbers:

    d[t] = r[t] + p[t] u[t],    u[t+1] = q[t+1] . d[t]
                                       = (q[t+1] . p[t]) u[t] + q[t+1] . r[t]

The neglected terms appear in the next residual. The gradient needs the whole derivative J:
`l[t] = dS[t] + J[t+1]' l[t+1]`, a linear system that the same iteration solves, transposed, with
products by J' at all steps in parallel. If one of the two does not converge within `ITERATIONS`, a
loop over time replaces it.

Products of matrices are computed in the full precision of their dtype. JAX's default on a GPU, TF32
for float32, would leave a residual near 1e-4.

Convergence: an error of one step reaches later ones through products of J. Where these shrink (a
negative Lyapunov exponent) the iteration contracts; where they grow it cannot (arXiv 2508.16817).

Sources: arXiv 2309.12252 (the iteration, with the whole derivative), arXiv 2407.19115 (with its
diagonal).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from rnnlab.cells.backends.lax_scan import preceding
from rnnlab.cells.step_functions import GateInputs, StepFunctions
from rnnlab.recurrent import tree_where
from rnnlab.scan.primitives import scan_with_last_state
from rnnlab.scan.varying import match_varying

ITERATIONS = 64
"""Iterations after which the loop over time replaces Newton's method."""
TOLERANCE = 4
"""Largest last correction of a solution, in units of its dtype's epsilon times its largest number.

The correction, not the residual: where states decay slowly, a small residual is a large error.
"""
ROUNDING = 16
"""In the same units: a correction this small is accepted once it no longer shrinks."""


class NewtonInfo(NamedTuple):
    """The end of an iteration.

    Attributes:
      iterations: number of iterations, int32.
      residual: the last residual, relative to the solution's largest number.
      converged: whether the last correction was small enough. If not, the loop over time ran.
    """

    iterations: Array
    residual: Array
    converged: Array


def solve(
    functions: StepFunctions,
    weights: tuple[Array, ...],
    carry: Any,
    init: Any,
    pre: GateInputs,
    reset: Array | None,
) -> tuple[Any, NewtonInfo]:
    """Returns the carries after every step, time first, and a report of the iteration.

    Args:
      functions: the step of the cell, static.
      weights: the recurrent kernel and further weights of the step.
      carry, init: the state before the first step, and the one that a reset restores.
      pre: projected inputs, (time, *batch, features) for each gate.
      reset: (time, *batch), or None.

    The carries can be differentiated once, in reverse mode.
    """
    return _solve(functions, weights, carry, init, pre, reset)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
@jax.default_matmul_precision("float32")
def _solve(functions, weights, carry, init, pre, reset):
    def evaluate(states):
        return functions.step(tree_where(reset, init, preceding(states, carry)), pre, *weights)

    def correct(states, residual):
        p, q = functions.diagonal_jacobian(
            tree_where(reset, init, preceding(states, carry)), pre, *weights
        )
        b = _dot(q, _shifted(residual, 1))
        u = _scan(_dot(q, _shifted(p, 1)), b, reset)
        return jax.tree.map(lambda s, r, p: s + r + p * u, states, residual, p)

    def loop():
        def body(state, step_inputs):
            x, cut = step_inputs
            state = functions.step(tree_where(cut, init, state), x, *weights)
            return state, state

        return lax.scan(body, carry, (pre, reset))[1]

    guess = jax.tree.map(lambda c: jnp.zeros_like(c, shape=(pre[0].shape[0], *c.shape)), carry)
    return _iterate(evaluate, correct, loop, guess)


def _solve_forward(functions, weights, carry, init, pre, reset):
    states, report = _solve(functions, weights, carry, init, pre, reset)
    return (states, report), (weights, carry, init, pre, reset, states)


@jax.default_matmul_precision("float32")
def _solve_backward(functions, residuals, cotangents):
    weights, carry, init, pre, reset, states = residuals
    dstates, _ = cotangents
    before = tree_where(reset, init, preceding(states, carry))
    step = partial(_step, functions)
    _, pull = jax.vjp(step, before, pre, weights)
    p, q = functions.diagonal_jacobian(before, pre, *weights)

    def earlier(dbefore):
        """Moves the cotangents of the state before each step to the step that returned it."""
        return _shifted(tree_where(reset, jax.tree.map(jnp.zeros_like, dbefore), dbefore), -1)

    def evaluate(adjoint):
        return jax.tree.map(jnp.add, dstates, earlier(pull(adjoint)[0]))

    def correct(adjoint, residual):
        # v[t] = p[t] . d[t] with d[t] = r[t] + q[t+1] v[t+1]: the transpose of the scan above.
        a = _dot(q, _shifted(p, 1))
        v = _scan_back(a, _dot(p, residual), reset)
        more = earlier(jax.tree.map(lambda q: q * v, q))
        return jax.tree.map(lambda *xs: sum(xs[1:], xs[0]), adjoint, residual, more)

    def loop():
        def body(dlater, step_inputs):
            dstate, *at = step_inputs
            adjoint = jax.tree.map(jnp.add, dstate, dlater)
            x, cut, state = at
            dbefore = jax.vjp(lambda s: step(s, x, weights), state)[1](adjoint)[0]
            return tree_where(cut, jax.tree.map(jnp.zeros_like, dbefore), dbefore), adjoint

        zeros = jax.tree.map(jnp.zeros_like, carry)
        return lax.scan(body, zeros, (dstates, pre, reset, before), reverse=True)[1]

    adjoint, _ = _iterate(evaluate, correct, loop, jax.tree.map(jnp.zeros_like, dstates))
    dbefore, dpre, dweights = pull(adjoint)
    zeros = jax.tree.map(jnp.zeros_like, dbefore)
    dcarry = jax.tree.map(lambda d: d[0], tree_where(reset, zeros, dbefore))
    dinit = jax.tree.map(jnp.zeros_like, init)
    if reset is not None:
        dinit = jax.tree.map(lambda d: d.sum(0), tree_where(reset, dbefore, zeros))
    return dweights, dcarry, dinit, dpre, None


_solve.defvjp(_solve_forward, _solve_backward)


def _step(functions, before, pre, weights):
    return functions.step(before, pre, *weights)


def _iterate(evaluate, correct, loop, guess):
    """The fixed point of `evaluate`, and how it was found; else what `loop` returns."""
    finfo = jnp.finfo(jax.tree.leaves(guess)[0].dtype)
    limit, rounding = TOLERANCE * finfo.eps, ROUNDING * finfo.eps

    def body(at):
        count, solution, _, last, _ = at
        values = evaluate(solution)
        residual = jax.tree.map(jnp.subtract, values, solution)
        new = correct(solution, residual)
        scale = jnp.maximum(_largest(values), finfo.tiny)
        change = _largest(jax.tree.map(jnp.subtract, new, solution)) / scale
        converged = (change <= limit) | ((change <= rounding) & (change >= last))
        return count + 1, new, _largest(residual) / scale, change, converged

    def unfinished(at):
        count, *_, converged = at
        return (count < ITERATIONS) & ~converged

    unknown = jnp.asarray(jnp.inf, finfo.dtype)
    # The number of iterations may differ between devices, and with it all that is carried.
    start = match_varying((jnp.int32(0), guess, unknown, unknown, jnp.bool_(False)))
    count, solution, size, _, converged = lax.while_loop(unfinished, body, start)
    solution = lax.cond(converged, lambda: solution, loop)
    return solution, NewtonInfo(count, size, converged)


def _shifted(tree, steps):
    """Arrays moved by one step, later or (-1) earlier, with zeros where nothing comes from."""

    def one(x):
        zeros = jnp.zeros_like(x[:1])
        return jnp.concatenate([zeros, x[:-1]] if steps == 1 else [x[1:], zeros])

    return jax.tree.map(one, tree)


def _dot(x, y):
    return sum(map(jnp.multiply, jax.tree.leaves(x), jax.tree.leaves(y)))


def _scan(a, b, reset):
    """`u[t] = a[t] u[t-1] + b[t]`, with nothing before a reset: there both are without meaning."""
    if reset is not None:
        b = jnp.where(reset[..., None], 0, b)
    return _linear_scan(a, b, reset, reverse=False)


def _scan_back(a, b, reset):
    """`v[t] = b[t] + a[t+1] v[t+1]`, where not reset[t+1]."""
    a = _shifted(a, -1)
    cut = None if reset is None else jnp.concatenate([reset[1:], jnp.ones_like(reset[:1])])
    return _linear_scan(a, b, cut, reverse=True)


def _linear_scan(a, b, reset, reverse):
    """A scan from zeros over axis 0. Sequences are whole here, also where devices cut them."""
    a, b = map(_time_second, (a, b))
    reset = None if reset is None else jnp.moveaxis(reset, 0, -1)[..., None]
    zeros = jnp.zeros_like(b[..., 0, :])
    h, _ = scan_with_last_state(a, b, zeros, reset, reverse=reverse, backend="auto")
    return _time_first(h)


def _time_second(x):
    return jnp.moveaxis(x, 0, -2)


def _time_first(x):
    return jnp.moveaxis(x, -2, 0)


def _largest(tree):
    return jnp.max(jnp.stack([jnp.max(jnp.abs(x)) for x in jax.tree.leaves(tree)]))
