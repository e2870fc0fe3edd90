"""Each cell beside what others offer for it: same parameters, same inputs, checked, then timed."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from rnnlab import records
from rnnlab.bench.scan import parse_shape
from rnnlab.bench.speedup import find_device
from rnnlab.bench.timing import Prepared, quartiles, time_interleaved
from rnnlab.bench.torch_programs import TorchForm, available, torch_form, torch_program
from rnnlab.bench.variants import (
    FLAX_CELLS,
    PASSES,
    Form,
    Problem,
    cell_form,
    flax_form,
    form_program,
    plain_form,
)
from rnnlab.cells import CELLS
from rnnlab.cells.linear import LinearCell
from rnnlab.registry import REGISTRY, compared_cells, minimal_counterparts
from rnnlab.scan import resolve_backend
from rnnlab.tables import Table, machine, milliseconds, times
from rnnlab.validation import require_one_of

MINIMAL = tuple(minimal_counterparts().values())
"""The cells whose times the others' are relative to."""
# Relative to the largest output. The log-space form is some 5e-4 off at 4,096 steps; a GPU's
# matmuls, and torch's on it, keep ten bits of the inputs (TF32).
DIFFERENCE = {"cpu": 2e-3, "gpu": 2e-2, "tpu": 2e-2}


@dataclass(frozen=True)
class Peers:
    """Times every cell beside its peers: Flax, torch, the paper's log-space form, plain JAX.

    On a GPU also the LSTM on cuDNN through JAX and, where it is installed, accelerated-scan. All
    forms of a cell have its parameters, their outputs are compared before any is timed, and one
    that differs is listed and not timed. Writes OUT/peers.jsonl and prints the table.

    Attributes:
      shapes: batch x time x width.
      cells: which cells.
      passes: forward, train (forward, backward and optimiser step).
      repeats: timed rounds.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: folder for the results. Rows are added to those that are there.
    """

    shapes: tuple[str, ...] = ("8x1024x256", "64x256x256")
    cells: tuple[str, ...] = compared_cells()
    passes: tuple[str, ...] = ("train",)
    repeats: int = 9
    device: str = "auto"
    out: Path = Path("runs/peers")

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        for shape in self.shapes:
            parse_shape(shape)
        for cell in self.cells:
            require_one_of("cells", cell, CELLS)
        for pass_ in self.passes:
            require_one_of("passes", pass_, PASSES)
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}; at least 1 is needed")


@dataclass(frozen=True)
class Peer:
    """One line of the table before it is measured."""

    cell: str
    implementation: str
    backend: str
    form: Callable[[Problem], Form | TorchForm]


def peers(cell: str, platform: str) -> list[Peer]:
    """The forms of a cell that can run here, rnnlab's own first."""
    minimal = issubclass(CELLS[cell], LinearCell)
    backend = resolve_backend("auto", platform) if minimal else "scan"
    found = [Peer(cell, "rnnlab", backend, _of(cell_form, cell, "auto"))]
    if minimal and platform != "cpu" and resolve_backend("pallas", platform) == "pallas":
        found.append(Peer(cell, "rnnlab", "pallas", _of(cell_form, cell, "pallas")))
    if minimal:
        found.append(Peer(cell, "plain JAX", "associative_scan", _of(plain_form, cell)))
    if cell in FLAX_CELLS:
        found.append(Peer(cell, "flax.nnx.RNN", "scan", _of(flax_form, cell)))
    if cell == "lstm" and platform == "gpu":
        found.append(Peer(cell, "rnnlab", "cudnn", _of(cell_form, cell, "cudnn")))
    if REGISTRY[cell].torch is not None and available(platform):
        native = "cuDNN" if platform == "gpu" else "native"
        backend = "log space" if minimal else native
        found.append(Peer(cell, "torch", backend, _of(torch_form, cell)))
        if minimal and platform == "gpu" and importlib.util.find_spec("accelerated_scan"):
            warp = importlib.import_module("accelerated_scan.warp")

            def accelerated(problem: Problem) -> TorchForm:
                return torch_form(cell, problem, warp.scan)

            found.append(Peer(cell, "accelerated-scan", "warp", accelerated))
    return found


def run(
    config: Peers, advance: Callable[[str], None] = lambda text: None
) -> Iterator[records.Record]:
    """Measures and yields rows, each written to OUT/peers.jsonl before it is yielded.

    All forms of all cells at one shape and pass are timed in turns.
    """
    config.validate()
    device = find_device(config.device)
    common = {"benchmark": "peers", **records.environment(device)}
    chosen = [peer for cell in config.cells for peer in peers(cell, device.platform)]
    for shape in config.shapes:
        batch_size, length, width = parse_shape(shape)
        problem = Problem(length, batch_size, width, "float32", device)
        forms = [peer.form(problem) for peer in chosen]
        differences = _differences(chosen, forms, problem)
        equal = [d <= DIFFERENCE[device.platform] for d in differences]
        for pass_ in config.passes:
            ready = {}
            for k, (peer, form) in enumerate(zip(chosen, forms, strict=True)):
                advance(f"{shape}, {pass_}: compiling {peer.cell} ({peer.implementation})")
                if equal[k]:
                    ready[k] = _program(form, pass_, problem)
            advance(f"{shape}, {pass_}: timing")
            seconds = time_interleaved([r.call for r in ready.values()], config.repeats)
            by_peer = dict(zip(ready, seconds, strict=True))
            own = {p.cell: by_peer[k] for k, p in reversed([*enumerate(chosen)]) if k in by_peer}
            for k, peer in enumerate(chosen):
                row = {
                    **common,
                    "cell": peer.cell,
                    "implementation": peer.implementation,
                    "backend": peer.backend,
                    "pass": pass_,
                    "batch_size": batch_size,
                    "length": length,
                    "width": width,
                    "dtype": "float32",
                    "seed": 0,
                    "repeats": config.repeats,
                    "difference": differences[k],
                    **_columns(ready.get(k), by_peer.get(k), own),
                }
                records.append(config.out / "peers.jsonl", row)
                yield row


def steps(config: Peers) -> int:
    """How often `run` calls `advance`."""
    platform = find_device(config.device).platform
    lines = sum(len(peers(cell, platform)) for cell in config.cells)
    return len(config.shapes) * len(config.passes) * (lines + 1)


def table(measured: list[records.Record]) -> Table:
    headings = (
        "batch × time × width",
        "pass",
        "cell",
        "implementation",
        "backend",
        "time, ms",
        "quartiles, ms",
        "temporaries, MB",
        "× minGRU",
        "× minLSTM",
        "outputs differ by",
    )
    lines, breaks = [], set()
    for k, r in enumerate(measured):
        timed = r["seconds"] is not None
        lines.append(
            (
                f"{r['batch_size']} × {r['length']} × {r['width']}",
                r["pass"],
                r["cell"],
                r["implementation"],
                r["backend"],
                milliseconds(r["seconds"]) if timed else "not timed",
                f"{milliseconds(r['seconds_q1'])} to {milliseconds(r['seconds_q3'])}"
                if timed
                else "",
                "" if r["temp_bytes"] is None else f"{r['temp_bytes'] / 1e6:,.1f}",
                *("" if r[f"over_{m}"] is None else times(r[f"over_{m}"]) for m in MINIMAL),
                f"{r['difference']:.0e}",
            )
        )
        following = measured[k + 1] if k + 1 < len(measured) else r
        if any(following[key] != r[key] for key in ("batch_size", "length", "pass")):
            breaks.add(k)
    title = f"cells and their peers on {machine(measured[0])}; {measured[0]['dtype']}"
    if "torch" in measured[0]["versions"]:
        title += f"; torch {measured[0]['versions']['torch']}"
    return Table(title, headings, lines, frozenset(breaks))


def _of(form, *arguments):
    return lambda problem: form(*arguments, problem)


def _differences(chosen, forms, problem) -> list[float]:
    """How far the outputs of each form are from those of rnnlab's own, relative to the largest."""
    wanted, differences = {}, []
    for peer, form in zip(chosen, forms, strict=True):
        outputs = form.outputs() if isinstance(form, TorchForm) else _outputs(form, problem)
        reference = wanted.setdefault(peer.cell, outputs)
        differences.append(float(np.max(np.abs(outputs - reference)) / np.max(np.abs(reference))))
    return differences


def _outputs(form: Form, problem: Problem) -> np.ndarray:
    with jax.default_device(problem.device):
        return np.asarray(jax.jit(form.outputs)(form.params, problem.inputs()))


def _program(form: Form | TorchForm, pass_: str, problem: Problem) -> Prepared:
    if isinstance(form, TorchForm):
        return torch_program(form, pass_)
    return form_program(form, pass_, problem)


def _columns(prepared: Prepared | None, seconds: np.ndarray | None, own) -> dict[str, object]:
    """Times, and the medians of the ratios to rnnlab's minimal cells in the same rounds."""
    q1, median, q3 = (None,) * 3 if seconds is None else quartiles(seconds)
    over = {
        f"over_{m}": quartiles(seconds / own[m])[1] if seconds is not None and m in own else None
        for m in MINIMAL
    }
    return {
        "compile_seconds": None if prepared is None else prepared.compile_seconds,
        "temp_bytes": None if prepared is None else prepared.temp_bytes,
        "seconds": median,
        "seconds_q1": q1,
        "seconds_q3": q3,
        **over,
    }
