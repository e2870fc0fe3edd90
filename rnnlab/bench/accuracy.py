"""The error of every form of the scan against a float64 loop, over length, dtype and gate range."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab import records
from rnnlab.bench.speedup import find_device
from rnnlab.dtypes import accumulation_dtype
from rnnlab.scan import heinsen_scan, linear_scan, log_linear_scan
from rnnlab.tables import Table, machine

NARROW = "published log form in 16 bit"


class Setting(NamedTuple):
    """Mean of the decay's pre-activations, whose deviation is 1, and what may be negative."""

    mean: float
    signed_decay: bool = False
    signed_inputs: bool = False

    @property
    def positive(self) -> bool:
        """Whether decays and inputs have logarithms."""
        return not (self.signed_decay or self.signed_inputs)


SETTINGS = {
    "N(0, 1)": Setting(0.0),
    "N(8, 1)": Setting(8.0),
    "N(0, 1), inputs N(0, 1)": Setting(0.0, signed_inputs=True),
    "N(8, 1), inputs N(0, 1)": Setting(8.0, signed_inputs=True),
    "N(0, 1) in (-1, 1), inputs N(0, 1)": Setting(0.0, signed_decay=True, signed_inputs=True),
}


@dataclass(frozen=True)
class Accuracy:
    """Prints the relative error max|h - ref| / max|ref| of every form against a float64 loop.

    The decay is sigmoid of N(0, 1) or of N(8, 1), whose memory spans thousands of steps, and in one
    setting moved to (-1, 1). Inputs are uniform in (0, 1), since the log forms take positive terms
    alone, or standard normal. Writes OUT/accuracy.jsonl.

    Attributes:
      lengths: sequence lengths.
      dtypes: dtypes of inputs and outputs; the scans' own arithmetic is float32.
      width: independent recurrences in each measurement.
      out: folder for the results. Rows are added to those that are there.
    """

    lengths: tuple[int, ...] = (64, 1024, 16384, 65536)
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16")
    width: int = 64
    out: Path = Path("runs/accuracy")

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"lengths is {self.lengths}; lengths of at least 1 are needed")


def run(
    config: Accuracy, advance: Callable[[str], None] = lambda text: None
) -> Iterator[records.Record]:
    """Measures and yields rows, each written to OUT/accuracy.jsonl before it is yielded."""
    config.validate()
    common = {"benchmark": "accuracy", **records.environment(find_device("auto"))}
    for gates, setting in SETTINGS.items():
        for length in config.lengths:
            advance(f"{gates}, length {length}")
            a, b = _operands(length, config.width, setting)
            for dtype in config.dtypes:
                # The reference starts from the rounded inputs: what is left is the scan's error.
                a_in, b_in = jnp.asarray(a, dtype), jnp.asarray(b, dtype)
                reference = _loop(np.asarray(a_in, np.float64), np.asarray(b_in, np.float64))
                for form, scan in _forms(setting).items():
                    if form == NARROW and dtype == "float32":
                        continue
                    h = np.asarray(scan(a_in, b_in)).astype(np.float64)
                    error = np.abs(h - reference).max() / np.abs(reference).max()
                    row = {
                        **common,
                        "form": form,
                        "gates": gates,
                        "length": length,
                        "width": config.width,
                        "dtype": dtype,
                        "seed": 0,
                        "relative_error": float(error) if np.isfinite(error) else None,
                    }
                    records.append(config.out / "accuracy.jsonl", row)
                    yield row


def steps(config: Accuracy) -> int:
    """How often `run` calls `advance`."""
    return len(SETTINGS) * len(config.lengths)


def table(measured: list[records.Record]) -> Table:
    lengths = sorted({r["length"] for r in measured})
    headings = ("dtype", "gates", "form", *(f"length {n:,}" for n in lengths))
    cells: dict[tuple[str, str, str], dict[int, float | None]] = {}
    for r in measured:
        cells.setdefault((r["dtype"], r["gates"], r["form"]), {})[r["length"]] = r["relative_error"]
    order = list(dict.fromkeys(r["dtype"] for r in measured))
    keys = sorted(cells, key=lambda key: order.index(key[0]))
    lines = [
        (*key, *("NaN" if (e := cells[key].get(n)) is None else f"{e:.1e}" for n in lengths))
        for key in keys
    ]
    ends = {k for k, (x, y) in enumerate(pairwise(keys)) if x[:2] != y[:2]}
    title = f"relative error against a float64 loop on {machine(measured[0])}"
    return Table(title, headings, lines, frozenset(ends))


def _forms(setting: Setting):
    """Forms by name, each from real-space decay and input to real-space states."""
    real = {b: _real(b) for b in ("sequential", "associative")}
    if not setting.positive:
        return real
    return real | {
        "log pairs": _in_log_space(log_linear_scan),
        "published log form": _in_log_space(heinsen_scan),
        NARROW: _published_narrow,
    }


def _real(backend):
    return jax.jit(lambda a, b: linear_scan(a, b, backend=backend))


def _in_log_space(scan):
    """The logarithms are taken in float32 even of 16-bit inputs."""

    @jax.jit
    def call(a, b):
        wide = accumulation_dtype(a.dtype)
        return jnp.exp(scan(jnp.log(a.astype(wide)), jnp.log(b.astype(wide)))).astype(b.dtype)

    return call


@jax.jit
def _published_narrow(a, b):
    """What a mixed-precision run computes that leaves the published form in 16 bit."""
    log_s = jnp.cumsum(jnp.log(a), 0)
    return jnp.exp(log_s + jax.lax.cumlogsumexp(jnp.log(b) - log_s, 0))


def _operands(length, width, setting):
    rng = np.random.default_rng(0)
    shape = (length, width)
    a = 1 / (1 + np.exp(-rng.normal(setting.mean, 1.0, shape)))
    b = rng.normal(size=shape) if setting.signed_inputs else rng.uniform(size=shape)
    return (2 * a - 1 if setting.signed_decay else a).astype(np.float32), b.astype(np.float32)


def _loop(a, b):
    h, state = np.empty_like(b), np.zeros(b.shape[1])
    for t in range(len(b)):
        state = h[t] = a[t] * state + b[t]
    return h
