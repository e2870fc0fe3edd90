"""What do slices of frames and anti-diagonals save in the training step of a transducer?

Command:  python experiments/studies/transducer_memory.py
Device:   2 cores of a shared x86 machine; 4 minutes.
Result:   experiments/results/transducer_memory/rows.jsonl and two tables in docs/performance.md.

The joint: value and gradients of the loss with respect to the outputs of both networks and to the
parameters of the joint, with all logits in memory, and slice by slice (`node_log_probs`). Logits
are (batch, time, labels + 1, classes), hidden units 128.

The loss: value and gradients with respect to the two log probabilities of each node, by
anti-diagonals (`rnnlab.transducer_loss`), by the same loop through JAX's automatic differentiation,
also without normalization and lengths, and by one associative scan per row (over labels) or per
column (over time).

Expected: slices of 8 frames take at most a tenth of the temporary buffers at no more than 1.2x the
time at (8, 400, 50, 256), since the matrix products that are computed again replace reads and
writes of memory. Anti-diagonals take less time than rows and columns, whose associative scans do
more arithmetic; gradients of its own are faster than automatic differentiation, and more accurate
in float32, since each diagonal is normalized.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax

from rnnlab import log_linear_scan, provenance, records, transducer_loss
from rnnlab.bench.base import RATIO_QUARTILES, Column, key_column, make_table, ratio_column
from rnnlab.bench.timing import compare_to_reference, compile_program, time_interleaved, time_keys
from rnnlab.losses.transducer import sum_over_paths
from rnnlab.models.joint import Joint, node_log_probs
from rnnlab.records import Record
from rnnlab.tables import Table, device_label, format_ms, print_table

OUT = Path(__file__).parent.parent / "results" / "transducer_memory" / "rows.jsonl"
HIDDEN = 128
JOINT_SIZES = ((8, 200, 20, 32), (8, 400, 50, 256))
LOSS_SIZES = ((8, 200, 20), (8, 400, 50))
FRAMES = (1, 8, 16)
SIZE = Column(
    "batch × time × labels × classes",
    lambda r: " × ".join(str(r[k]) for k in ("batch_size", "length", "labels", "classes")),
)
LOSS_SIZE = Column(
    "batch × time × labels",
    lambda r: " × ".join(str(r[k]) for k in ("batch_size", "length", "labels")),
)
MEMORY = Column("XLA temp memory, MB", lambda r: f"{r['temp_bytes'] / 1e6:,.1f}")
TITLE = "{}, forward and backward, on {}; float32"
TIME = Column("time in ms", lambda r: format_ms(r["seconds"]))


def joint_table(measured: Sequence[Record]) -> Table:
    """One table row per size and form of the joint."""
    chosen = [r for r in measured if r["benchmark"] == "transducer joint"]
    columns = (SIZE, key_column("form"), MEMORY, TIME, ratio_column("× full joint"))
    title = TITLE.format("joint and loss", device_label(chosen[0]))
    return make_table(title, (*columns, RATIO_QUARTILES), chosen, ())


def loss_table(measured: Sequence[Record]) -> Table:
    """One table row per size and form of the loss."""
    chosen = [r for r in measured if r["benchmark"] == "transducer loss"]
    errors = Column("largest error of a gradient", lambda r: f"{r['gradient_error']:.1e}")
    columns = (LOSS_SIZE, key_column("form"), TIME, ratio_column("× anti-diagonals"), errors)
    title = TITLE.format("loss", device_label(chosen[0]))
    return make_table(title, (*columns, RATIO_QUARTILES), chosen, ())


def measure_joint(sizes: tuple[int, ...], repeats: int) -> list[Record]:
    """Returns a record per form of the joint, all timed in the same rounds."""
    batch, time, labels, classes = sizes
    keys = jax.random.split(jax.random.key(0), 3)
    joint = Joint(HIDDEN, classes, rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(joint)
    encoded = jax.random.normal(keys[0], (batch, time, HIDDEN))
    predicted = jax.random.normal(keys[1], (batch, labels + 1, HIDDEN))
    tokens = jax.random.randint(keys[2], (batch, labels), 1, classes)

    def full(joint, encoded, predicted, tokens):
        logits = joint(encoded[:, :, None], predicted[:, None])
        log_probs = jax.nn.log_softmax(logits)
        where = jnp.broadcast_to(tokens[:, None, :, None], (batch, time, labels, 1))
        emit = jnp.take_along_axis(log_probs[:, :, :-1], where, -1)[..., 0]
        return log_probs[..., 0], emit

    def lean(frames):
        def nodes(joint, encoded, predicted, tokens):
            x = node_log_probs(joint, encoded, predicted, tokens, frames)
            return x[..., 0], x[..., :-1, 1]

        return nodes

    def step(form):
        def value(params, encoded, predicted, tokens):
            joint = nnx.merge(graphdef, params, copy=True)
            return transducer_loss(*form(joint, encoded, predicted, tokens)).sum()

        return jax.value_and_grad(value, (0, 1, 2))

    forms = {"full joint": full} | {f"slices, frames={k}": lean(k) for k in FRAMES}
    programs = [
        compile_program(step(form), params, encoded, predicted, tokens) for form in forms.values()
    ]
    seconds = time_interleaved(programs, repeats)
    named = {"batch_size": batch, "length": time, "labels": labels, "classes": classes}
    return [
        {
            "benchmark": "transducer joint",
            **provenance.environment(jax.devices()[0]),
            **named,
            "form": form,
            "hidden": HIDDEN,
            "seed": 0,
            "repeats": repeats,
            **time_keys(of_form),
            **compare_to_reference(program, of_form, seconds[0]),
        }
        for form, program, of_form in zip(forms, programs, seconds, strict=True)
    ]


def measure_loss(sizes: tuple[int, ...], repeats: int) -> list[Record]:
    """Returns a record per form of the loss, all timed in the same rounds, in float32."""
    batch, time, labels = sizes
    logits = 2 * np.random.default_rng(0).normal(size=(batch, time, labels + 1, 32))
    log_probs = np.asarray(logits - np.logaddexp.reduce(logits, -1, keepdims=True), np.float32)
    blank, emit = jnp.asarray(log_probs[..., 0]), jnp.asarray(log_probs[:, :, :-1, 1])
    exact = [-x for x in posteriors(np.asarray(blank, np.float64), np.asarray(emit, np.float64))]
    forms = {
        "anti-diagonals": transducer_loss,
        "the same loop, automatic differentiation": by_normalized_diagonals,
        "without normalization, automatic differentiation": by_diagonals,
        "rows by associative scans": by_rows,
        "columns by associative scans": by_columns,
    }
    programs = [
        compile_program(jax.value_and_grad(lambda b, e, f=form: f(b, e).sum(), (0, 1)), blank, emit)
        for form in forms.values()
    ]
    seconds = time_interleaved(programs, repeats)
    found = []
    for form, program, of_form in zip(forms, programs, seconds, strict=True):
        _, gradients = program.launch()
        errors = [np.abs(np.asarray(g) - x).max() for g, x in zip(gradients, exact, strict=True)]
        found.append(
            {
                "benchmark": "transducer loss",
                **provenance.environment(jax.devices()[0]),
                **{"batch_size": batch, "length": time, "labels": labels},
                "form": form,
                "seed": 0,
                "repeats": repeats,
                "gradient_error": float(max(errors)),
                **time_keys(of_form),
                **compare_to_reference(program, of_form, seconds[0]),
            }
        )
    return found


def by_normalized_diagonals(blank: Array, emit: Array) -> Array:
    """The loss by the loop of `transducer_loss`, with JAX's automatic differentiation."""
    batch, time, nodes = blank.shape
    lengths, label_lengths = (jnp.full((batch,), n, jnp.int32) for n in (time, nodes - 1))
    return sum_over_paths(blank, emit, lengths, label_lengths)[0]


def by_diagonals(blank: Array, emit: Array) -> Array:
    """The loss by a loop over anti-diagonals that are not normalized, of examples of one length."""
    batch, time, nodes = blank.shape
    diagonals = time + nodes - 1
    k, u = jnp.arange(diagonals)[:, None], jnp.arange(nodes)[None]
    t = k - u
    inside = ((t >= 0) & (t < time))[:, None]
    at = jnp.clip(t, 0, time - 1)
    emit = jnp.pad(emit, ((0, 0), (0, 0), (0, 1)), constant_values=LOW)
    arcs = [
        jnp.where(inside, jnp.moveaxis(x[:, at, jnp.broadcast_to(u, at.shape)], 1, 0), LOW)
        for x in (blank, emit)
    ]

    def body(log_alpha, arcs):
        by_blank, by_emit = log_alpha + arcs[0], log_alpha + arcs[1]
        moved = jnp.pad(by_emit[:, :-1], ((0, 0), (1, 0)), constant_values=LOW)
        return jnp.logaddexp(by_blank, moved), None

    first = jnp.full((batch, nodes), LOW).at[:, 0].set(0)
    last, _ = lax.scan(body, first, arcs)
    return -last[:, -1]


def by_rows(blank: Array, emit: Array) -> Array:
    """The loss by one associative scan over labels per time step."""
    log_a = jnp.pad(emit, ((0, 0), (0, 0), (1, 0)))

    def body(arriving, row):
        blank, log_a = row
        log_alpha = log_linear_scan(log_a[..., None], arriving[..., None])[..., 0]
        return log_alpha + blank, None

    first = jnp.full(blank.shape[::2], LOW).at[:, 0].set(0)
    last, _ = lax.scan(body, first, (jnp.moveaxis(blank, 1, 0), jnp.moveaxis(log_a, 1, 0)))
    return -last[:, -1]


def by_columns(blank: Array, emit: Array) -> Array:
    """The loss by one associative scan over time per label."""
    log_a = jnp.pad(blank[:, :-1], ((0, 0), (1, 0), (0, 0)))
    emit = jnp.pad(emit, ((0, 0), (0, 0), (0, 1)))

    def body(arriving, column):
        emit, log_a = column
        log_alpha = log_linear_scan(log_a[..., None], arriving[..., None])[..., 0]
        return log_alpha + emit, log_alpha[:, -1]

    first = jnp.full(blank.shape[:2], LOW).at[:, 0].set(0)
    _, ends = lax.scan(body, first, (jnp.moveaxis(emit, 2, 0), jnp.moveaxis(log_a, 2, 0)))
    return -(ends[-1] + blank[:, -1, -1])


LOW = -1e30
"""Log probability of what is impossible in the forms that JAX differentiates: -inf gives NaN."""


def posteriors(blank: np.ndarray, emit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probabilities that a path takes each arc, in float64, by two plain recursions."""
    batch, time, nodes = blank.shape
    alpha = np.full((batch, time + 1, nodes), -np.inf)
    beta = np.full((batch, time + 1, nodes), -np.inf)
    alpha[:, 0, 0] = beta[:, time, -1] = 0
    for t in range(time):
        for u in range(nodes):
            if u:
                arriving = alpha[:, t, u - 1] + emit[:, t, u - 1]
                alpha[:, t, u] = np.logaddexp(alpha[:, t, u], arriving)
            alpha[:, t + 1, u] = alpha[:, t, u] + blank[:, t, u]
    for t in reversed(range(time)):
        beta[:, t] = beta[:, t + 1] + blank[:, t]
        for u in reversed(range(nodes - 1)):
            leaving = beta[:, t, u + 1] + emit[:, t, u]
            beta[:, t, u] = np.logaddexp(beta[:, t, u], leaving)
    total = beta[:, :1, :1]
    by_blank = np.exp(alpha[:, :-1] + blank + beta[:, 1:] - total)
    return by_blank, np.exp(alpha[:, :-1, :-1] + emit + beta[:, :-1, 1:] - total)


def main() -> int:
    measured = []
    for sizes in LOSS_SIZES:
        measured += measure_loss(sizes, repeats=25)
    for sizes in JOINT_SIZES:
        measured += measure_joint(sizes, repeats=7)
    for record in measured:
        records.append(OUT, record)
    print_table(loss_table(measured))
    print_table(joint_table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
