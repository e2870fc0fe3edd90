"""What do integer weights and pruned units cost a character model, and what do they save?

Command:  python experiments/studies/model_compression.py
          python experiments/studies/model_compression.py --parts onnx "onnx tried" xla
          (the second one on a quiet machine; with the extra litert it times LiteRT too)
          python experiments/studies/model_compression.py --parts "onnx static"
          python experiments/studies/model_compression.py --seed 1 --parts quantize mixed prune
Device:   2 cores of a shared x86 machine, which other programs used; the training took 15 minutes.
Result:   experiments/results/compression/rows.jsonl and the tables in docs/deploy.md.

The model is the minGRU of `experiments/training/char_lm.py --preset cpu`: two blocks of width 128,
489,703 parameters, seed 0; without fine-tuning also seed 1. Losses are those of the test part, the
last tenth of the reference text of CPython. The sensitivity of a weight is measured on the
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
  static quantization         of ONNX Runtime: no faster than dynamic for a model in the cache, and
                              less exact (written after a first try of the losses, before the times)
  XLA on a CPU                a product of one row with int8 weights takes 10 times as long as with
                              float32 weights
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
from compression_parts import tables
from flax import nnx

from rnnlab import provenance, records
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
from rnnlab.tables import print_table
from rnnlab.train.config import TrainConfig
from rnnlab.train.evaluate import evaluate, make_predict

HERE = Path(__file__).parent
OUT = HERE.parent / "results" / "compression" / "rows.jsonl"
BATCHES, TUNE_STEPS = 16, 150
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


class Study:
    """The trained model of a seed, its data, and its loss on the test part."""

    def __init__(self, folder: Path, seed: int):
        self.seed = seed
        char_lm = load(HERE.parent / "training" / "char_lm.py", "an experiment")
        experiment = char_lm.PRESETS["cpu"].override({"model.cell": "mingru", "train.seed": seed})
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
            "seed": self.seed,
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
            "seed": study.seed,
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
    yield from tuned_quarter(study)
    for share in (0.125, 0.5):
        yield _tuned_pruning(study, share, "refit", True)
    whole = 4 * count_parameters(study.model)
    for scheme in TUNED_SCHEMES:
        options = SCHEMES[scheme]
        encodings = leaf_encodings(study.model, **options)
        model = fine_tune(study.model, study.data, study.tuning(), encodings=encodings)
        small = quantize(model, **options)
        sizes = {"scheme": scheme, "bytes": small.nbytes, "float_bytes": whole}
        yield study.measure("quantize", small.model, **sizes, updates=TUNE_STEPS)


def tuned_quarter(study: Study) -> Iterator[Record]:
    """Yields the records after further training of the whole model and without 25% of the units."""
    model = fine_tune(study.model, study.data, study.tuning())
    none = {"share": 0.0, "criterion": "none", "repair": False}
    yield study.measure("prune", model, **none, updates=TUNE_STEPS)
    for kind in ("refit", "magnitude"):
        yield _tuned_pruning(study, 0.25, kind, KINDS[kind])


def _tuned_pruning(study: Study, share: float, kind: str, repair: bool) -> Record:
    small = prune(study.model, study.batches, share, criterion=kind, repair=repair)
    small = fine_tune(small, study.data, study.tuning())
    keys = {"share": share, "criterion": kind, "repair": repair, "updates": TUNE_STEPS}
    return study.measure("prune", small, **keys)


def pruned(study: Study) -> Iterator[Record]:
    """Yields the records of pruned models."""
    for share, kind, repair in PRUNINGS:
        small = prune(study.model, study.batches, share, criterion=kind, repair=repair)
        keys = {"share": share, "criterion": kind, "repair": repair}
        yield study.measure("prune", small, **keys)


def static(study: Study) -> Iterator[Record]:
    """Yields the records of ONNX Runtime's static quantization."""
    from compression_parts import static_tried  # which needs the extra onnx

    for record in static_tried.steps(study.model, study.data):
        yield {**record, "seed": study.seed}


TIMES = ("onnx", "onnx tried", "xla")
"""Parts that measure times, in the folder `compression_parts`."""
PARTS: Mapping[str, Callable[[Study], Iterator[Record]]] = {
    "quantize": quantized,
    "mixed": mixed,
    "prune": pruned,
    "tune": tuned,
    "tune 25%": tuned_quarter,
    "onnx static": static,
}
DEFAULT = ("quantize", "mixed", "prune", "tune")


def measure(parts: Sequence[str], folder: Path, seed: int) -> Iterator[Record]:
    """Yields the records of parts, without the keys that all records share."""
    losses = [part for part in parts if part in PARTS]
    if losses:
        study = Study(folder, seed)
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
    parser.add_argument("--parts", nargs="+", choices=(*PARTS, *TIMES), default=DEFAULT)
    parser.add_argument("--run", type=Path, help="default: runs/compression, with _seedN for N > 0")
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    folder = Path("runs", f"compression_seed{parsed.seed}" if parsed.seed else "compression")
    common = {"benchmark": "compression", **provenance.environment(jax.devices()[0])}
    measured = []
    for record in measure(parsed.parts, parsed.run or folder, parsed.seed):
        measured.append({**common, **record})
        records.append(OUT, measured[-1])
    for part in tables.COLUMNS:
        if of_part := [record for record in measured if record["part"] == part]:
            print_table(tables.table(part, of_part))
    return 0


if __name__ == "__main__":
    sys.exit(main())
