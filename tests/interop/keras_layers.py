"""Layers of Keras with random weights, what they compute, and how rnnlab reads them.

Run in a process of its own, since Keras chooses its backend at import and changes JAX's settings:

    KERAS_BACKEND=numpy python tests/interop/keras_layers.py table > tests/data/interop/keras.jsonl
    KERAS_BACKEND=numpy python tests/interop/keras_layers.py check

`table` writes weights, inputs, states and outputs. Weights and inputs are multiples of 1/64, exact
in float32, and results are in float64. Keras casts float64 to float32 within its operations, unless
TensorFlow is its backend; the script lifts that rule (`BIT64_TO_BIT32_DTYPE`).

`check` writes what `rnnlab.interop.keras` made of the layers themselves, and its errors.
"""

import json
import sys

import numpy as np

BATCH, TIME, IN, UNITS = 2, 4, 3, 4
SETTINGS = {
    "SimpleRNN": {},
    "SimpleRNN relu": {"activation": "relu"},
    "GRU": {},
    "GRU reset before": {"reset_after": False},
    "LSTM": {},
}
MERGES = (None, "concat", "sum")


def import_keras():
    import keras
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    keras.config.set_floatx("float64")
    return keras


def cases():
    """Yields (name, settings, merge, use_bias) of one-layer cases."""
    for name, settings in SETTINGS.items():
        for merge in MERGES:
            for use_bias in (True, False):
                yield name, {**settings, "use_bias": use_bias}, merge


def make_layer(keras, name, settings, merge, width=IN):
    layer = getattr(keras.layers, name.split()[0])(
        UNITS, return_sequences=True, return_state=True, **settings
    )
    if merge is not None:
        layer = keras.layers.Bidirectional(layer, merge_mode=merge)
    layer.build((BATCH, TIME, width))
    return layer


def draw(rng, shape):
    return rng.integers(-64, 65, shape) / 64


def run(keras, layers, inputs, initial_states):
    """The outputs of layers on each other, and the last states of all, in Keras's order."""
    ys, last = keras.ops.convert_to_tensor(inputs), []
    for layer, states in zip(layers, initial_states, strict=True):
        ys, *after = layer(ys, initial_state=[keras.ops.convert_to_tensor(s) for s in states])
        last.append([keras.ops.convert_to_numpy(s).tolist() for s in after])
    return keras.ops.convert_to_numpy(ys).tolist(), last


def record(keras, rng, name, layers, merges, settings):
    for layer in layers:
        layer.set_weights([draw(rng, w.shape) for w in layer.get_weights()])
    inputs = draw(rng, (BATCH, TIME, IN))
    counts = [
        (2 if "LSTM" in type(getattr(layer, "forward_layer", layer)).__name__ else 1)
        * (1 if merge is None else 2)
        for layer, merge in zip(layers, merges, strict=True)
    ]
    start = [[draw(rng, (BATCH, UNITS)) for _ in range(count)] for count in counts]
    outputs, states = run(keras, layers, inputs, start)
    return {
        "name": name,
        "settings": settings,
        "merges": merges,
        "weights": {w.path: w.numpy().tolist() for layer in layers for w in layer.weights},
        "inputs": inputs.tolist(),
        "initial_states": [[s.tolist() for s in states] for states in start],
        "outputs": outputs,
        "states": states,
    }


def table():
    keras = import_keras()
    rng = np.random.default_rng(0)
    found = []
    for name, settings, merge in cases():
        keras.utils.clear_session()
        layers = [make_layer(keras, name, settings, merge)]
        found.append(record(keras, rng, name, layers, [merge], settings))
    keras.utils.clear_session()
    layers = [
        make_layer(keras, "LSTM", {}, None),
        make_layer(keras, "GRU", {}, "concat", UNITS),
        make_layer(keras, "GRU", {}, None, 2 * UNITS),
    ]
    found.append(record(keras, rng, "three layers", layers, [None, "concat", None], {}))
    versions = {"keras": keras.__version__, "backend": keras.backend.backend()}
    print(json.dumps({**versions, "command": __doc__.split("\n\n")[2].split("\n")[0].strip()}))
    for case in found:
        print(json.dumps(case))


def check():
    from rnnlab.interop import keras as interop
    from rnnlab.models.parameters import named_parameters

    keras = import_keras()
    keras.config.set_floatx("float32")
    equal, errors = {}, {}
    for name, settings, merge in cases():
        layer = make_layer(keras, name, settings, merge)
        layer.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in layer.weights])
        stack = interop.load(layer)
        options = {k: v for k, v in settings.items() if k != "use_bias"}
        weights = {w.path: w for w in layer.weights}
        again = interop.load(weights, merge=merge or "concat", **options)
        ours, theirs = named_parameters(stack), named_parameters(again)
        layer.set_weights(list(interop.state_dict(stack, bias=settings["use_bias"]).values()))
        back = named_parameters(interop.load(layer))
        equal[f"{name} {merge} {settings['use_bias']}"] = all(
            bool((ours[k] == theirs[k]).all() and (ours[k] == back[k]).all()) for k in ours
        )
    layers = keras.layers
    refused = {
        "activation": layers.GRU(4, activation="relu"),
        "linear": layers.SimpleRNN(4, activation=None),
        "recurrent activation": layers.LSTM(4, recurrent_activation="hard_sigmoid"),
        "recurrent dropout": layers.LSTM(4, recurrent_dropout=0.2),
        "backwards": layers.GRU(4, go_backwards=True),
        "merge": layers.Bidirectional(layers.GRU(4), merge_mode="ave"),
        "class": layers.Dense(4),
        "stacked cells": layers.RNN([layers.GRUCell(4), layers.GRUCell(4)]),
        "not built": layers.GRU(4),
    }
    for name, layer in refused.items():
        if name != "not built":
            layer.build((2, 5, 3))
        try:
            interop.load(layer)
        except ValueError as error:
            errors[name] = str(error)
    print(json.dumps({"equal": equal, "errors": errors}))


if __name__ == "__main__":
    {"table": table, "check": check}[sys.argv[1]]()
