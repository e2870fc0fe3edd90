"""What do integer weights and pruned units cost a character model, and what do they save?

Command:  python experiments/studies/model_compression.py
          python experiments/studies/model_compression.py --parts onnx "onnx tried" xla
          (the second one on a quiet machine; with the extra litert it times LiteRT too)
Device:   2 cores of a shared x86 machine, which other programs used; the training took 15 minutes.
Result:   experiments/results/compression/rows.jsonl and the tables in docs/deploy.md.

The model is the minGRU of `experiments/training/char_lm.py --preset cpu`: two blocks of width 128,
489,703 parameters, one seed, since a training took 15 minutes. Losses are those of the test part,
the last tenth of the reference text of CPython. The sensitivity of a weight is measured on the
validation part, by which one would choose what to keep.

Expected, written before the run; a prototype on another training of the model had these values:
  int8 per channel            3.8x smaller at +0.000 nats
  int6 per channel            5.0x smaller at +0.001
  int4 in groups of 32        6.1x smaller at +0.02; with rounded weights in training below +0.01
  int4 per channel            7.2x smaller at +0.03
  int4, sensitive weights     in int8 5.6x smaller or more at +0.015, in int6 5.9x at +0.009 (each
  wider                       written when the records above it were known)
  25% of the units removed    +0.05 nats refit, +0.6 by magnitude, +0.6 at random; +0.02 refit and
                              trained for 150 updates, relative to as many of the whole model
  12.5% and 50% refit         +0.02 and +0.2
  ONNX Runtime, one stream    dynamic int8 of a model of 350 MB takes a third of the time of float32
                              or less; of the character model as long as float32 or longer
  XLA on a CPU                a product of one row with int8 weights takes 10 times as long as with
                              float32 weights
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
from flax import nnx

from rnnlab import provenance, records
from rnnlab.bench.base import RATIO_QUARTILES, Column, key_column, make_table, ratio_column
from rnnlab.compress import (
    fine_tune,
    leaf_encodings,
    prune,
    quantize,
    sensitivity,
    tuning_config,
)
from rnnlab.load_module import load
from rnnlab.models import SequenceModel
from rnnlab.models.config import count_parameters, state_bytes
from rnnlab.records import Record
from rnnlab.runs.api import load_run, load_trained_model, run
from rnnlab.tables import Table, device_label, format_ms, print_table
from rnnlab.train.config import TrainConfig
from rnnlab.train.evaluate import evaluate, make_predict

HERE = Path(__file__).parent
OUT = HERE.parent / "results" / "compression" / "rows.jsonl"
SEED, BATCHES, TUNE_STEPS = 0, 16, 150
SCHEMES = {
    "int8 per channel": {"bits": 8},
    "int6 per channel": {"bits": 6},
    "int4, groups of 32": {"bits": 4},
    "int4 per channel": {"bits": 4, "group": 0},
    "int4, groups of 32; gates int8": {"bits": 4, "leaf_bits": {"cell": 8}},
}
SENSITIVE = ("embedding", "head", "layers.0.cell.candidate", "layers.0.project")
"""The weights whose change on the validation part is largest in the records of `sensitivity`."""
MIXED = {
    f"int4, groups of 32; four sensitive weights int{bits}": {
        "bits": 4,
        "leaf_bits": dict.fromkeys(SENSITIVE, bits),
    }
    for bits in (8, 6)
}
TUNED_SCHEMES = ("int4, groups of 32", "int4 per channel")
KINDS = {"refit": True, "magnitude": False, "random": False}
"""Criteria, and whether the weights of the units that stay are fitted again."""
PRUNINGS = (
    *((share, kind, repair) for share in (0.25, 0.125, 0.5) for kind, repair in KINDS.items()),
    *((0.25, kind, True) for kind in ("magnitude", "random")),
)
TUNED_PRUNINGS = (
    *((0.25, kind, repair) for kind, repair in list(KINDS.items())[:2]),
    *((share, "refit", True) for share in (0.125, 0.5)),
)


ALLOWED = 0.02
"""Largest change of the loss, in nats, of the smallest weights that the page names."""


class Study:
    """The trained model, its data, and its loss on the test part."""

    def __init__(self, folder: Path):
        char_lm = load(HERE.parent / "training" / "char_lm.py", "an experiment")
        experiment = char_lm.PRESETS["cpu"].override({"model.cell": "mingru", "train.seed": SEED})
        run(folder, experiment, name="char_lm", preset="cpu")
        self.model, self.data = load_trained_model(folder)
        self.train = load_run(folder)[2].train
        self.batches = [self.data.train_batch(k) for k in range(BATCHES)]
        self.before = self.loss(self.model)

    def loss(self, model: SequenceModel, part: str = "test") -> float:
        """Returns the nats per character of a part of the text."""
        graphdef, params = nnx.split(model, nnx.Param)
        batches = self.data.eval_sets[part]()
        return evaluate(make_predict(graphdef), params, self.data, batches)["nll"]

    def tuning(self) -> TrainConfig:
        """Returns the settings of the fine-tuning."""
        return tuning_config(self.train, TUNE_STEPS)

    def measure(self, what: str, model: SequenceModel, **keys: object) -> Record:
        """Returns the record of a model."""
        loss = self.loss(model)
        return {
            "part": what,
            "seed": SEED,
            "updates": 0,
            **keys,
            **({"learning_rate": self.tuning().learning_rate} if keys.get("updates") else {}),
            "parameters": count_parameters(model),
            "state_bytes": state_bytes(model),
            "nll": loss,
            "nll_change": loss - self.before,
        }


def quantized(study: Study) -> Iterator[Record]:
    """Yields the records of integer weights."""
    whole = 4 * count_parameters(study.model)
    yield study.measure("quantize", study.model, scheme="float32", bytes=whole, float_bytes=whole)
    for scheme, options in SCHEMES.items():
        small = quantize(study.model, **options)
        sizes = {"scheme": scheme, "bytes": small.nbytes, "float_bytes": whole}
        yield study.measure("quantize", small.model, **sizes)
    encodings = leaf_encodings(study.model, 4)
    changes = sensitivity(study.model, lambda m: study.loss(m, "valid"), encodings)
    for name, change in changes.items():
        yield {
            "part": "sensitivity",
            "seed": SEED,
            "weight": name,
            "bits": encodings[name].bits,
            "group": encodings[name].group,
            "nll_change": change,
        }


def mixed(study: Study) -> Iterator[Record]:
    """Yields the records of integer weights of two widths, chosen by the sensitivities."""
    whole = 4 * count_parameters(study.model)
    for scheme, options in MIXED.items():
        small = quantize(study.model, **options)
        sizes = {"scheme": scheme, "bytes": small.nbytes, "float_bytes": whole}
        yield study.measure("quantize", small.model, **sizes)


def tuned(study: Study) -> Iterator[Record]:
    """Yields the records after further training: of all models that are also measured before it."""
    model = fine_tune(study.model, study.data, study.tuning())
    none = {"share": 0.0, "criterion": "none", "repair": False}
    yield study.measure("prune", model, **none, updates=TUNE_STEPS)
    for share, kind, repair in TUNED_PRUNINGS:
        small = prune(study.model, study.batches, share, criterion=kind, repair=repair)
        small = fine_tune(small, study.data, study.tuning())
        keys = {"share": share, "criterion": kind, "repair": repair, "updates": TUNE_STEPS}
        yield study.measure("prune", small, **keys)
    whole = 4 * count_parameters(study.model)
    for scheme in TUNED_SCHEMES:
        options = SCHEMES[scheme]
        encodings = leaf_encodings(study.model, **options)
        model = fine_tune(study.model, study.data, study.tuning(), encodings=encodings)
        small = quantize(model, **options)
        sizes = {"scheme": scheme, "bytes": small.nbytes, "float_bytes": whole}
        yield study.measure("quantize", small.model, **sizes, updates=TUNE_STEPS)


def pruned(study: Study) -> Iterator[Record]:
    """Yields the records of pruned models."""
    for share, kind, repair in PRUNINGS:
        small = prune(study.model, study.batches, share, criterion=kind, repair=repair)
        keys = {"share": share, "criterion": kind, "repair": repair}
        yield study.measure("prune", small, **keys)


TIMES = ("onnx", "onnx tried", "xla")
"""Parts that measure times, in the folder `compression_parts`."""
PARTS: Mapping[str, Callable[[Study], Iterator[Record]]] = {
    "quantize": quantized,
    "mixed": mixed,
    "prune": pruned,
    "tune": tuned,
}
TITLES = {
    "quantize": "loss by integers of the weights",
    "sensitivity": "change of the loss by the one weight that is quantized",
    "prune": "loss by units that are removed",
    "onnx": "one time step of all streams in ONNX Runtime",
    "onnx tried": "one time step of one stream of mingru 1024 x 6 on a CPU",
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
    "xla": (
        Column("rows × inputs × outputs", lambda r: " × ".join(map(str, r["shape"]))),
        key_column("weights"),
        TIME,
        ratio_column("relative to float32"),
        RATIO_QUARTILES,
    ),
}


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
        f"{change('magnitude', True, 0):+.3f}. After {TUNE_STEPS} updates the two are close, "
        f"{change('refit', True, TUNE_STEPS):+.3f} and "
        f"{change('magnitude', False, TUNE_STEPS):+.3f}."
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
    "xla": _xla_finding,
}


def measure(parts: Sequence[str], folder: Path) -> Iterator[Record]:
    """Yields the records of parts, without the keys that all records share."""
    losses = [part for part in parts if part in PARTS]
    if losses:
        study = Study(folder)
        for part in losses:
            yield from PARTS[part](study)
    if set(parts) & set(TIMES):
        from compression_parts import int8_tried, times  # which need the extra onnx

        if "onnx" in parts:
            yield from times.onnx_steps()
        if "onnx tried" in parts:
            yield from int8_tried.steps()
        if "xla" in parts:
            yield from times.xla_products()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=(*PARTS, *TIMES), default=list(PARTS))
    parser.add_argument("--run", type=Path, default=Path("runs/compression"))
    parsed = parser.parse_args()
    common = {"benchmark": "compression", **provenance.environment(jax.devices()[0])}
    measured = []
    for record in measure(parsed.parts, parsed.run):
        measured.append({**common, **record})
        records.append(OUT, measured[-1])
    for part in COLUMNS:
        if of_part := [record for record in measured if record["part"] == part]:
            print_table(table(part, of_part))
    return 0


if __name__ == "__main__":
    sys.exit(main())
