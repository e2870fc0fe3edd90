"""Models whose files are compared with them, and the comparison."""

from functools import partial

import jax
from flax import nnx

from rnnlab import LRU, RGLRU, ModelConfig, stack_cells
from rnnlab.export import evaluation_copy, largest_error
from rnnlab.export.onnx import read, write
from rnnlab.optional import require_module
from rnnlab.registry import REGISTRY

TOLERANCE = 5e-6
ALL_CELLS = "+".join(REGISTRY)
TOKENS, VALUES = {"vocab_size": 11}, {"in_features": 7, "num_variables": 2}


def build(cell=ALL_CELLS, data=TOKENS, *, out_features=11, **settings):
    """Returns a small model with as many layers as it has cells, in evaluation mode."""
    settings = {"width": 8, "depth": len(cell.split("+")), **settings}
    model = ModelConfig(cell, **settings).build(out_features, rngs=nnx.Rngs(0), **data)
    model.eval()
    return with_random_parameters(model)


def with_random_parameters(module):
    """Returns a module whose parameters are all random: zeros would hide a missing term."""
    graphdef, parameters, rest = nnx.split(module, nnx.Param, ...)
    leaves, structure = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    leaves = [
        x + 0.1 * jax.random.normal(key, x.shape) for x, key in zip(leaves, keys, strict=True)
    ]
    return nnx.merge(graphdef, jax.tree.unflatten(structure, leaves), rest, copy=True)


def onnx_error(module, form, flags=(), sizes=((3, 7),), seed=0):
    """Returns the largest relative error of a module's ONNX file, which must be valid."""
    module = evaluation_copy(module)
    content = write(module, form, flags)
    onnx = require_module("onnx")
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    return largest_error(read(content), module, form, flags, sizes=sizes, seed=seed)


def option(cell, **options):
    """Returns a function that builds a model of a cell with options."""
    return lambda: build(cell, options=options)


def bare(cell, **options):
    """Returns two layers of a class of cells."""
    make = partial(cell, **options)
    return with_random_parameters(stack_cells(make, 4, 8, num_layers=2, rngs=nnx.Rngs(0)))


MODELS = {
    **{name: lambda name=name: build(name, depth=2) for name in REGISTRY},
    "all cells": build,
    "values": lambda: build("mingru+lstm", VALUES, dropout=0.1, variational=True),
    "input decay": lambda: build("mingru", VALUES, input_decay=True),
    "input decay only": lambda: build(
        "gru", {"in_features": 6, "num_variables": 2}, input_decay=True
    ),
    "tied head": lambda: build("mingru+gru", tie_embeddings=True),
    "mean": lambda: build("minlstm", readout="mean"),
    "attention": lambda: build("gru", readout="attention"),
    "bidirectional": lambda: build("rnn+gru+lstm+mingru+mamba", bidirectional=True),
    "bidirectional gaps": lambda: build(
        "gru+mingru", bidirectional=True, options={"gap_decay": True}, readout="attention"
    ),
    "no convolution": lambda: build("mingru+lstm", conv_kernel_size=None),
    "one tap": lambda: build("mingru+rnn", conv_kernel_size=1),
    "no MLP": lambda: build("minlstm+gru", mlp_expansion=None, expansion=1),
    "remat": lambda: build("mingru+gru", remat=True),
    "gap decay": lambda: build("mingru+minlstm+gru", options={"gap_decay": True}),
    **{
        f"{cell} {candidate} {low}": option(cell, candidate=candidate, decay_range=(low, 1))
        for cell in ("mingru", "minlstm")
        for candidate in ("positive", "identity", "tanh")
        for low in (0, -1)
    },
    "not normalized": option("minlstm", normalize=False, forget_bias=1.0),
    "learned state": option("mingru+minlstm+mamba", learn_initial_state=True),
    "reset before": option("gru", reset_after=False),
    "newton": option("gru+lstm", backend="newton"),
    "relu": option("rnn", activation="relu"),
    "window of 1": option("transformer", window=1, heads=2),
    "window of 5": option("transformer", window=5),
    "mamba sizes": option("mamba", conv_size=1, state_size=3, dt_rank=2),
    "dilations": lambda: build("tcn", depth=4, options={"kernel_size": 2}),
    "kernel of 1": option("tcn", kernel_size=1),
    "bare cells": lambda: stack_cells("lstm", 3, 8, num_layers=2, dropout=0.1, rngs=nnx.Rngs(0)),
    "rglru": lambda: bare(RGLRU, heads=2),
    "lru": lambda: bare(LRU, state_size=5),
    "s5": lambda: bare(LRU, init="hippo", delta=True, learn_initial_state=True),
    "bare directions": lambda: stack_cells(
        "gru", 3, 8, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0)
    ),
}
"""Functions that build models of every cell and of every option that changes a computation."""
