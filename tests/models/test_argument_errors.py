"""Constructors that get wrong arguments raise one line that names what to write."""

import jax
import numpy as np
import pytest
from flax import nnx

from rnnlab import (
    CELLS,
    GRU,
    Block,
    Dropout,
    MinGRU,
    ModelConfig,
    SequenceModel,
    Stack,
    generate,
    stack_cells,
)

RNGS = nnx.Rngs(0)


@pytest.mark.parametrize("name", CELLS)
def test_cell_without_valid_rngs_or_with_another_name_raises(unchecked, name):
    cls = CELLS[name]
    call = rf"{cls.__name__}\(in_features, features, rngs=nnx.Rngs\(0\)\)"
    with pytest.raises(TypeError, match=f"^rngs must be given to {cls.__name__}; write {call}$"):
        cls(3, 8)
    with pytest.raises(ValueError, match=r"^rngs must be an nnx.Rngs, got 0; write rngs=nnx.Rngs"):
        cls(3, 8, rngs=0)
    with pytest.raises(TypeError, match=f"^argument 'hidden_size' .* {cls.__name__}; write feat"):
        cls(3, hidden_size=8, rngs=RNGS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GRU(3, 8, RNGS), "rngs must be given to GRU by name; write GRU"),
        (lambda: GRU(3, 8, rngs=jax.random.key(0)), "got a PRNGKeyArray; write rngs=nnx.Rngs"),
        (lambda: GRU(3, 8, seed=0), r"'seed' is unknown for GRU; write rngs=nnx.Rngs\(0\)"),
        (lambda: MinGRU(3, 8, candidat="tanh", rngs=RNGS), "for MinGRU; write candidate='tanh'"),
        (lambda: GRU(3, 8, foo=1, rngs=RNGS), "'foo' is unknown for GRU; its arguments are in_fe"),
        (lambda: stack_cells("gru", 3, hidden_size=8, rngs=RNGS), "stack_cells; write features=8"),
        (lambda: stack_cells("gru", 3, 8, layers=2, rngs=RNGS), "stack_cells; write num_layers=2"),
        (
            lambda: stack_cells("mingru", 3, 8, candidat=2, rngs=RNGS),
            "for MinGRU; write candidate=2",
        ),
        (lambda: stack_cells("gru", 3, 8, foo=2, rngs=RNGS), "'foo' is unknown for GRU; its arg"),
        (lambda: stack_cells("gru", 3, 8, rngs=0), "rngs must be an nnx.Rngs, got 0"),
        (lambda: Block(3, GRU), r"write Block\(width, cell, rngs=nnx.Rngs\(0\)\)"),
        (lambda: Dropout(3, 0.5, rngs=0), "rngs must be an nnx.Rngs, got 0"),
        (lambda: ModelConfig(hidden_size=3), "ModelConfig; write width=3"),
        (lambda: ModelConfig().build(3, 4, rngs=RNGS), "all others must be given to build by name"),
        (lambda: ModelConfig().build(3, in_features=2), r"write build\(out_features, rngs=nnx"),
        (lambda: ModelConfig("minGRU"), "'minGRU' is unknown; did you mean 'mingru'"),
        (lambda: Stack(RNGS, RNGS), r"write Stack\(\[layer, ...\]\)"),
        (lambda: Stack(GRU(3, 3, rngs=RNGS)), r"got GRU; write Stack\(\[layer, ...\]\)"),
        (lambda: Block(3, "gru", rngs=RNGS), "got 'gru'; pass one such as rnnlab.MinGRU"),
        (lambda: GRU(3, np.int64(8), rngs=RNGS), r"got np.int64\(8\); pass int\(features\)"),
        (lambda: generate(None, [1], 4), r"write generate\(model, prompt, length, jax.random"),
        (lambda: SequenceModel(GRU(3, 3, rngs=RNGS), 3, in_features=2), "given to SequenceModel;"),
    ],
)
def test_wrong_argument_raises_what_to_write(unchecked, make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_other_errors_of_a_constructor_are_unchanged():
    class Broken(GRU):
        def __init__(self, in_features, features, *, rngs):
            super().__init__(in_features, features, rngs=rngs)
            len(3)

    with pytest.raises(TypeError, match=r"^object of type 'int' has no len\(\)$"):
        Broken(3, 8, rngs=RNGS)
