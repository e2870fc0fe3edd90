"""Analyses of models whose state decays with the time between inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import GRU, Bidirectional, MinGRU, SequenceModel, Stack
from rnnlab import analysis as an
from rnnlab.analysis import report

pytestmark = pytest.mark.usefixtures("quick_compile")

GAPS = jnp.array([0.0, 0.5, 2.0, 0.0, 1.0])


def last_output(ys):
    return ys[..., -1, 0].sum()


def all_analyses(cell, carry, xs, gaps):
    """The results of every analysis of one sequence that runs the cell."""
    call = (cell, carry, xs)
    return {
        "states": an.states(*call, gaps=gaps),
        "gates": an.gate_statistics(*call, gaps=gaps),
        "state gradients": an.state_gradients(*call, last_output, gaps=gaps),
        "gradient flow": an.gradient_flow(*call, last_output, gaps=gaps),
        "jacobians": an.jacobians(*call, gaps=gaps),
        "lyapunov": an.lyapunov_exponents(*call, 2, gaps=gaps),
        "sensitivity": an.input_sensitivity(*call, gaps=gaps),
    }


@pytest.mark.parametrize("make", [MinGRU, GRU])
def test_analyses_of_a_cell_with_gaps_equal_derivatives_of_its_call(make, getkey):
    cell = make(3, 4, gap_decay=True, rngs=nnx.Rngs(0))
    xs, carry = jax.random.normal(getkey(), (5, 3)), jnp.full((4,), 0.3)
    found = all_analyses(cell, carry, xs, GAPS)
    last, ys = cell(carry, xs, gaps=GAPS)
    np.testing.assert_allclose(found["states"], ys, rtol=1e-5)
    np.testing.assert_allclose(found["states"][-1], last, rtol=1e-5)
    jacobian = jax.jacrev(lambda c: cell(c, xs, gaps=GAPS)[0])(carry)
    product = np.linalg.multi_dot(found["jacobians"][::-1])
    np.testing.assert_allclose(product, jacobian, rtol=1e-4, atol=1e-7)
    first = jax.grad(lambda c: last_output(cell(c, xs, gaps=GAPS)[1]))(carry)
    np.testing.assert_allclose(found["state gradients"][0], first, rtol=1e-4, atol=1e-7)
    norms = np.linalg.norm(found["state gradients"], axis=-1)
    np.testing.assert_allclose(found["gradient flow"]["cell"], norms, rtol=1e-4)
    inputs = jax.jacrev(lambda xs: cell(carry, xs, gaps=GAPS)[1][-1])(xs)  # (features, time, in)
    np.testing.assert_allclose(
        found["sensitivity"], np.linalg.norm(inputs, axis=-1).T[::-1], rtol=1e-4, atol=1e-7
    )
    if make is MinGRU:
        diagonals = np.diagonal(found["jacobians"], axis1=-2, axis2=-1)
        np.testing.assert_allclose(an.decays(cell, carry, xs, gaps=GAPS), diagonals, rtol=1e-5)
        rates = np.sort(np.log(diagonals).mean(0))[::-1][:2]
        np.testing.assert_allclose(found["lyapunov"], rates, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "without"), [(MinGRU, "time between inputs"), (MinGRU, "rates"), (GRU, "rates")]
)
def test_analyses_without_decay_equal_those_of_the_cell_without_gaps(make, without, getkey):
    decaying, plain = (make(3, 4, rngs=nnx.Rngs(0), **o) for o in ({"gap_decay": True}, {}))
    gaps = jnp.zeros(5) if without == "time between inputs" else GAPS
    if without == "rates":
        decaying.gap_rate[...] = jnp.full((4,), -100.0)  # softplus: 0
    xs, carry = jax.random.normal(getkey(), (5, 3)), jnp.full((4,), 0.3)
    found, expected = all_analyses(decaying, carry, xs, gaps), all_analyses(plain, carry, xs, None)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6), found, expected
    )


def test_decays_and_gate_statistics_include_the_decay_with_time():
    cell = MinGRU(3, 2, gap_decay=True, gap_rates=(0.5, 0.5), rngs=nnx.Rngs(0))
    carry, xs = cell.initial_carry(()), jnp.zeros((5, 3))  # decays of 0.5 without gaps
    expected = 0.5 * np.exp(-0.5 * np.asarray(GAPS))
    found = an.decays(cell, carry, xs, gaps=GAPS)
    np.testing.assert_allclose(found, np.stack([expected] * 2, 1), rtol=1e-6)
    mean = an.gate_statistics(cell, carry, xs, gaps=GAPS)["decay"].mean
    np.testing.assert_allclose(mean, expected.mean(), rtol=1e-6)


def test_cell_inputs_have_the_gaps_in_the_order_of_reading(getkey):
    rngs = nnx.Rngs(0)
    both = Bidirectional(*(MinGRU(3, 4, gap_decay=True, rngs=rngs) for _ in range(2)))
    model, xs = Stack([both, GRU(8, 5, rngs=rngs)]), jax.random.normal(getkey(), (2, 5, 3))
    mask = jnp.ones((2, 5), bool).at[1, 3:].set(False)
    carry, gaps = model.initial_carry((2,)), jnp.stack([GAPS, GAPS])
    forward, backward, last = an.cell_inputs(model, carry, xs, mask=mask, gaps=gaps)
    np.testing.assert_array_equal(backward.gaps, [[0, 1, 0, 2, 0.5], [0, 2, 0.5, 0, 0]])
    assert last.gaps is None
    assert last.options == {}
    ys = [r.cell(r.carry, r.xs, mask=mask, **r.options)[1] for r in (forward, backward)]
    merged = jnp.concatenate([ys[0][0], jnp.flip(ys[1][0], 0)], -1)
    np.testing.assert_allclose(last.xs[0], merged, rtol=1e-5)
    weights = an.gradient_flow(model, carry, xs, last_output, mask=mask, gaps=gaps)
    assert set(weights) == {"layer 1 forward", "layer 1 backward", "layer 2"}


def test_analyses_with_missing_unused_or_negative_gaps_raise_one_line():
    xs, plain = jnp.zeros((2, 3)), GRU(3, 4, rngs=nnx.Rngs(0))
    cell = GRU(3, 4, gap_decay=True, rngs=nnx.Rngs(0))
    for run in (an.states, an.gate_statistics, an.cell_inputs, an.jacobians, an.input_sensitivity):
        with pytest.raises(ValueError, match="gaps must be given to GRU"):
            run(cell, cell.initial_carry(()), xs)
        with pytest.raises(ValueError, match=r"gaps must be >= 0, got -1\.0 at index \(1,\)"):
            run(cell, cell.initial_carry(()), xs, gaps=jnp.array([0.0, -1.0]))
        with pytest.raises(ValueError, match="gaps must be None for GRU"):
            run(plain, plain.initial_carry(()), xs, gaps=jnp.zeros(2))


def test_report_of_a_model_with_gap_decay_reads_the_gaps():
    rngs = nnx.Rngs(0)
    cell = MinGRU(4, 4, gap_decay=True, gap_rates=(1.0, 1.0), rngs=rngs)
    model = SequenceModel(cell, 3, in_features=2, rngs=rngs)
    model.project.kernel[...] *= 0  # decays of 0.5 without gaps
    xs = jnp.ones((5, 2))
    drawn = dict(report.figures(model, xs, gaps=GAPS, source="records"))
    assert set(drawn) == {"gradient_flow", "memory", "gates_cell", "trajectory", "attribution"}
    image = drawn["gates_cell"].axes[0].images[0].get_array()
    np.testing.assert_allclose(image, np.stack([0.5 * np.exp(-GAPS)] * 4), rtol=1e-5)
    caption = drawn["gates_cell"]._supxlabel.get_text()
    assert "decay includes that with the time since the previous input" in caption
    (line,) = report.table(model, xs, gaps=GAPS).lines
    assert line[2] == f"{np.log(0.5) - GAPS.mean():.3f}"
