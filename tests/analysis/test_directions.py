"""Analyses of bidirectional models, direction by direction, and the captions of their figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import CELLS, GRU, Bidirectional, MinGRU, SequenceModel, Stack
from rnnlab.analysis import cell_inputs, gradient_flow, layers, report
from rnnlab.analysis.gates import gate_meaning
from rnnlab.analysis.report import Prediction

pytestmark = pytest.mark.usefixtures("quick_compile")


def both(cell=MinGRU, in_features=3, features=4):
    rngs = nnx.Rngs(0)
    return Bidirectional(*(cell(in_features, features, rngs=rngs) for _ in range(2)))


def output_at_2(ys):
    return ys[..., 2, 0].sum() + ys[..., 2, 4].sum()


def test_gradient_flow_of_each_direction_ends_at_the_loss():
    model, xs = both(), jnp.zeros((6, 3))  # decays of 0.5
    flow = gradient_flow(model, model.initial_carry(()), xs, output_at_2)
    np.testing.assert_allclose(flow["cell forward"], [1 / 8, 1 / 4, 1 / 2, 0, 0, 0])
    np.testing.assert_allclose(flow["cell backward"], [0, 0, 1 / 2, 1 / 4, 1 / 8, 1 / 16])


def test_gradient_flow_of_padding_is_zero(getkey):
    model, xs = both(GRU), jax.random.normal(getkey(), (2, 6, 3))
    mask = jnp.ones((2, 6), bool).at[1, 4:].set(False)
    found = gradient_flow(model, model.initial_carry((2,)), xs, output_at_2, mask=mask)
    short = gradient_flow(model, model.initial_carry(()), xs[1, :4], output_at_2)
    for name, norms in found.items():
        np.testing.assert_allclose(norms[1, :4], short[name], rtol=1e-4)
        assert not norms[1, 4:].any()


def test_cells_of_both_directions_have_names_and_inputs(getkey):
    model = Stack([both(), GRU(8, 5, rngs=nnx.Rngs(1))])
    carry, xs = model.initial_carry(()), jax.random.normal(getkey(), (6, 3))
    names = ["layer 1 forward", "layer 1 backward", "layer 2"]
    assert [layer.name for layer in layers(model, carry)] == names
    read = cell_inputs(model, carry, xs)
    assert [r.name for r in read] == names
    assert [r.reads_backward for r in read] == [False, True, False]
    forward, backward = (r.cell(r.carry, r.xs)[1] for r in read[:2])
    merged = jnp.concatenate([forward, jnp.flip(backward, 0)], -1)
    np.testing.assert_allclose(read[2].xs, merged, rtol=1e-5)


def test_report_of_a_bidirectional_model_names_its_prediction():
    rngs = nnx.Rngs(0)
    model = SequenceModel(both(GRU, 4), 3, in_features=2, rngs=rngs)
    prediction = Prediction(1, 2, "predicted class 2, target class 0", "logit of class 2")
    xs = jnp.ones((5, 2))
    drawn = dict(report.figures(model, xs, prediction=prediction, source="file.ts, sequence 7"))
    assert set(drawn) == {
        *("gradient_flow", "memory", "attribution"),
        *(
            f"{kind}_cell_{way}"
            for kind in ("gates", "trajectory")
            for way in ("forward", "backward")
        ),
    }
    for name, figure in drawn.items():
        caption = figure._supxlabel.get_text()
        assert "file.ts, sequence 7" in caption
        said = "Prediction at time step 1: predicted class 2, target class 0" in caption
        assert said == (name in ("gradient_flow", "attribution"))
        assert ("Backward cells read from the last" in caption) == (
            name in ("memory", "gates_cell_backward", "trajectory_cell_backward")
        )
    # The whole sequence is read: later steps matter.
    assert len(drawn["attribution"].axes[0].patches) == 5
    assert [line[0] for line in report.table(model, xs).lines] == ["cell forward", "cell backward"]


def test_report_omits_steps_behind_the_prediction():
    model = SequenceModel(MinGRU(4, 4, rngs=nnx.Rngs(0)), 3, vocab_size=3, rngs=nnx.Rngs(0))
    figures = report.figures(
        model,
        jnp.array([0, 1, 2, 0]),
        list("abca"),
        prediction=Prediction(2, 0, "predicted 'a'", "logit of 'a'"),
    )
    texts = [text.get_text() for text in dict(figures)["attribution"].axes[0].texts]
    assert texts == ["a", "b", "c"]


@pytest.mark.parametrize("name", [name for name in CELLS if hasattr(CELLS[name], "gate_values")])
def test_gates_of_every_cell_have_a_meaning(name):
    cell = CELLS[name](3, 4, rngs=nnx.Rngs(0))
    gates = cell.gate_values(cell.initial_carry(()), jnp.ones((2, 3)))
    assert all(gate_meaning(cell, gate) for gate in gates)


def test_decays_that_change_the_sign_are_drawn_in_their_range():
    cell = MinGRU(4, 4, rngs=nnx.Rngs(0), decay_range=(-1, 1))
    model = SequenceModel(cell, 3, in_features=2, rngs=nnx.Rngs(0))
    axes = dict(report.figures(model, jnp.ones((3, 2))))["gates_cell"].axes[0]
    assert axes.images[0].get_clim() == (-1, 1)
    assert "-1 flips the sign of the state, 0 forgets it" in axes.get_title()


def test_end_of_a_long_sequence_starts_from_its_carry(getkey):
    model = SequenceModel(MinGRU(4, 4, rngs=nnx.Rngs(0)), 3, in_features=2, rngs=nnx.Rngs(0))
    xs = jax.random.normal(getkey(), (7, 2))
    carry = model(model.initial_carry(()), xs[:5])[0]
    prediction = Prediction(1, 0, "predicted value: 1.5")
    about = {"prediction": prediction, "carry": carry, "first_step": 5}
    drawn = dict(report.figures(model, xs[5:], **about))
    assert drawn["attribution"]._supxlabel.get_text().startswith("Prediction at time step 6")
    whole = cell_inputs(model, model.initial_carry(()), xs)[0]
    expected = whole.cell.gate_values(whole.carry, whole.xs)["decay"][5:]
    image = drawn["gates_cell"].axes[0].images[0]
    np.testing.assert_allclose(np.sort(image.get_array(), 0), np.sort(expected.T, 0), rtol=1e-4)
    assert image.get_extent()[:2] == [4.5, 6.5]
