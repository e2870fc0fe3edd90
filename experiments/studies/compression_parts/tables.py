"""Tables of smaller models, and their findings in a sentence or two."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from rnnlab.bench.base import RATIO_QUARTILES, Column, key_column, make_table, ratio_column
from rnnlab.records import Record
from rnnlab.tables import Table, device_label, format_ms

ALLOWED = 0.02
"""Largest change of the loss, in nats, of the smallest weights that the page names."""
TITLES = {
    "quantize": "loss by integers of the weights",
    "sensitivity": "change of the loss by the one weight that is quantized",
    "prune": "loss by units that are removed",
    "onnx": "one time step of all streams in ONNX Runtime",
    "onnx tried": "one time step of one stream of mingru 1024 x 6 on a CPU",
    "onnx static": "one time step of the trained model in ONNX Runtime on one thread",
    "xla": "a product with a matrix of weights in XLA",
}
CHANGE = Column("change of nll", lambda r: f"{r['nll_change']:+.4f}")
TIME = Column("time, ms", lambda r: format_ms(r["seconds"]))
UPDATES = Column(
    "updates after",
    lambda r: f"{r['updates']} at {r['learning_rate']:g}" if r["updates"] else "0",
)
COLUMNS = {
    "quantize": (
        key_column("scheme", "weights"),
        UPDATES,
        Column("bytes", lambda r: f"{r['bytes']:,}"),
        Column("smaller", lambda r: f"{r['float_bytes'] / r['bytes']:.2f}x"),
        Column("test nll", lambda r: f"{r['nll']:.4f}"),
        CHANGE,
    ),
    "sensitivity": (key_column("weight"), key_column("bits"), key_column("group"), CHANGE),
    "prune": (
        Column("units removed", lambda r: f"{r['share']:.1%}"),
        Column("chosen by", lambda r: CRITERIA[r["criterion"]]),
        Column("projection", lambda r: "refitted" if r["repair"] else "kept"),
        UPDATES,
        Column("parameters", lambda r: f"{r['parameters']:,}"),
        Column("state, bytes", lambda r: f"{r['state_bytes']:,}"),
        Column("test nll", lambda r: f"{r['nll']:.4f}"),
        CHANGE,
    ),
    "onnx": (
        key_column("model"),
        key_column("weights"),
        Column("MB", lambda r: f"{r['bytes'] / 1e6:.1f}"),
        key_column("batch_size", "streams"),
        TIME,
        ratio_column("relative to float32"),
        RATIO_QUARTILES,
    ),
    "onnx tried": (
        Column("runtime: weights", lambda r: f"{r['runtime']}: {r['weights']}"),
        key_column("threads"),
        Column("MB", lambda r: f"{r['bytes'] / 1e6:.1f}"),
        TIME,
        Column("GB/s", lambda r: f"{r['bytes'] / r['seconds'] / 1e9:.1f}"),
        Column("times as fast as float32", lambda r: f"{1 / r['ratio']:.2f}"),
        Column("quartiles", lambda r: f"{1 / r['ratio_q3']:.2f} to {1 / r['ratio_q1']:.2f}"),
    ),
    "onnx static": (
        key_column("weights", "quantization to int8"),
        Column("bytes", lambda r: f"{r['bytes']:,}"),
        Column("test nll", lambda r: f"{r['nll']:.4f}"),
        CHANGE,
        key_column("batch_size", "streams"),
        TIME,
        ratio_column("relative to float32"),
        RATIO_QUARTILES,
    ),
    "xla": (
        Column("rows × inputs × outputs", lambda r: " × ".join(map(str, r["shape"]))),
        key_column("weights"),
        TIME,
        ratio_column("relative to float32"),
        RATIO_QUARTILES,
    ),
}


def seeds_table(measured: Sequence[Record]) -> Table:
    """Returns the changes of the loss over the seeds, of what was measured for several."""
    changes: dict[tuple[str, str], dict[int, float]] = {}
    for record in measured:
        if record["part"] in ("quantize", "prune"):
            key = _description(record), UPDATES.text(record)
            changes.setdefault(key, {})[record["seed"]] = record["nll_change"]
    lines = [
        (
            *key,
            ", ".join(map(str, sorted(found))),
            f"{fmean(found.values()):+.4f}",
            f"{min(found.values()):+.4f} to {max(found.values()):+.4f}",
        )
        for key, found in changes.items()
        if len(found) > 1 and key[0] != "float32"
    ]
    headings = ("model", "updates after", "seeds", "change of nll, mean", "smallest to largest")
    title = f"change of the loss in several trainings; {device_label(measured[0])}"
    return Table(title, headings, lines)


def _description(record: Record) -> str:
    if record["part"] == "quantize":
        return record["scheme"]
    if not record["share"]:
        return "all units"
    fit = "refitted" if record["repair"] else "kept"
    return f"{record['share']:.1%} of the units removed by {CRITERIA[record['criterion']]}, {fit}"


def table(part: str, measured: Sequence[Record]) -> Table:
    """Returns the table of the records of a part."""
    title = f"{TITLES[part]}; {device_label(measured[0])}"
    if part in ORDERS:
        measured = sorted(measured, key=ORDERS[part])
    return make_table(title, COLUMNS[part], measured, ())


def finding(part: str, measured: Sequence[Record]) -> str:
    """Returns the records of a part in a sentence or two."""
    return FINDINGS[part](measured) if part in FINDINGS else ""


def _quantize_finding(measured: Sequence[Record]) -> str:
    def describe(record: Record) -> str:
        ratio = record["float_bytes"] / record["bytes"]
        trained = f" after {record['updates']} updates" if record["updates"] else ""
        return f"{record['scheme']}{trained}, {ratio:.1f}x at {record['nll_change']:+.4f} nats"

    schemes = [record for record in measured if record["scheme"] != "float32"]
    exact = min(schemes, key=lambda r: abs(r["nll_change"]))
    small = [record for record in schemes if record["nll_change"] < ALLOWED]
    smallest = min(small, key=lambda r: r["bytes"])
    return (
        f"Closest to float32: {describe(exact)}. "
        f"Smallest below +{ALLOWED} nats: {describe(smallest)}."
    )


def _prune_finding(measured: Sequence[Record]) -> str:
    tuned = max(record["updates"] for record in measured)

    def change(criterion: str, repair: bool, updates: int) -> float:
        """Returns the change of the loss, of several at the highest learning rate."""
        wanted = 0.25, criterion, repair, updates
        keys = ("share", "criterion", "repair", "updates")
        found = [r for r in measured if tuple(r[key] for key in keys) == wanted]
        return max(found, key=lambda r: r.get("learning_rate", 0))["nll_change"]

    return (
        "Without a quarter of the units the loss changes by "
        f"{change('refit', True, 0):+.3f} nats by the regression, and by "
        f"{change('magnitude', False, 0):+.3f} where those of the smallest weights are removed. "
        "Most of the difference comes from the fit: with it, removal by magnitude costs "
        f"{change('magnitude', True, 0):+.3f}. After {tuned} updates the two are close, "
        f"{change('refit', True, tuned):+.3f} and "
        f"{change('magnitude', False, tuned):+.3f}."
    )


def _onnx_finding(measured: Sequence[Record]) -> str:
    return " ".join(
        f"Time of a step of {streams} {weights}, relative to float32: "
        f"{', '.join(_by_size(measured, weights, count))}."
        for streams, weights, count in (
            ("one stream with", "int8 in blocks", 1),
            ("64 streams with", "int8", 64),
        )
    )


def _by_size(measured: Sequence[Record], weights: str, streams: int) -> list[str]:
    """Returns the ratios of some weights with their models, the smallest one first."""
    sizes = {r["model"]: r["bytes"] / 1e6 for r in measured if r["weights"] == "float32"}
    chosen = [r for r in measured if (r["weights"], r["batch_size"]) == (weights, streams)]
    ordered = sorted(chosen, key=lambda r: sizes[r["model"]])
    return [f"{r['ratio']:.2f} for {r['model']} ({sizes[r['model']]:,.0f} MB)" for r in ordered]


def _static_finding(measured: Sequence[Record]) -> str:
    changes = {record["weights"]: record["nll_change"] for record in measured}
    by_streams = [
        f"{record['ratio']:.2f} ({record['weights']}) at {record['batch_size']} "
        f"stream{'s' * (record['batch_size'] > 1)}"
        for record in measured
        if record["weights"] in ("dynamic", "static, products and embedding")
    ]
    losses = [f"{change:+.4f} ({name})" for name, change in changes.items() if name != "float32"]
    return (
        f"Change of the loss in nats: {', '.join(losses)}. "
        f"Time of a step, relative to float32: {', '.join(by_streams)}."
    )


def _xla_finding(measured: Sequence[Record]) -> str:
    ratios = {
        r["shape"][0]: r["ratio"] for r in measured if r["weights"].startswith("int8 weights")
    }
    parts = [f"{ratio:.1f} for {rows} row{'s' * (rows > 1)}" for rows, ratio in ratios.items()]
    return f"Time of a product with int8 weights, relative to float32: {', '.join(parts)}."


CRITERIA = {"refit": "regression", "magnitude": "magnitude", "random": "chance", "none": ""}
ORDERS: Mapping[str, Callable[[Record], tuple]] = {
    "quantize": lambda r: (-r["bytes"], r["updates"]),
    "sensitivity": lambda r: (-r["nll_change"],),
    "prune": lambda r: (
        r["updates"],
        r.get("learning_rate", 0),
        r["share"],
        list(CRITERIA).index(r["criterion"]),
        not r["repair"],
    ),
}
"""Keys to sort the rows of a table by."""
FINDINGS: Mapping[str, Callable[[Sequence[Record]], str]] = {
    "quantize": _quantize_finding,
    "prune": _prune_finding,
    "onnx": _onnx_finding,
    "onnx static": _static_finding,
    "xla": _xla_finding,
}
