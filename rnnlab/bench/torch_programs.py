"""The same layer in PyTorch, if it is installed: its cells, and the published minimal cells.

torch is not a dependency of rnnlab. `available` returns whether a cell's variant can run.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rnnlab.bench.base import Workload
from rnnlab.bench.timing import LAUNCHES, TimedProgram
from rnnlab.bench.variants import make_cell
from rnnlab.interop import torch as torch_weights
from rnnlab.registry import find_cell

LOG_SPACE = "log space"
"""The registry's name of the published form of a minimal cell."""


def available(cell: str, platform: str) -> bool:
    """Whether a cell has a peer in torch, and torch is installed for the platform."""
    if find_cell(cell).torch is None or importlib.util.find_spec("torch") is None:
        return False
    import torch

    return platform == "cpu" or (platform == "gpu" and torch.cuda.is_available())


class TorchVariant(NamedTuple):
    """A layer in torch: `model(xs)` returns the outputs of all time steps."""

    model: Any
    xs: Any

    def outputs(self) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.model(self.xs).float().cpu().numpy()


def torch_variant(
    name: str, workload: Workload, scan: Callable[..., Any] | None = None
) -> TorchVariant:
    """A cell's peer in torch, with the parameters and inputs of rnnlab's cell.

    A minimal cell is computed in the paper's log space, or by `scan(a, b)` as in `scanned_cell`.
    """
    import torch

    device = "cuda" if workload.device.platform == "gpu" else "cpu"
    options = {"device": device, "dtype": getattr(torch, workload.dtype)}
    cell = make_cell(name, workload)
    kind = find_cell(name).torch
    if kind is None:
        raise ValueError(f"cell {name!r} has no peer in torch; remove it from --cells")
    if kind == LOG_SPACE:
        make = log_space_cell if scan is None else partial(scanned_cell, scan)
        model = make(name, workload.width, options)
        with torch.no_grad():
            for layer, key in zip(model.projections, type(cell).projections, strict=True):
                layer.weight.copy_(torch.tensor(np.asarray(getattr(cell, f"{key}_kernel")[...].T)))
                layer.bias.copy_(torch.tensor(np.asarray(getattr(cell, f"{key}_bias")[...])))
    else:
        layer = getattr(torch.nn, kind)(workload.width, workload.width, batch_first=True, **options)
        model = _FirstOutput(layer)
        weights = torch_weights.state_dict(cell)
        layer.load_state_dict({key: torch.tensor(x) for key, x in weights.items()})
    xs = torch.tensor(np.asarray(workload.inputs().astype(jnp.float32))).to(**options)
    return TorchVariant(model, xs)


def torch_program(variant: TorchVariant, pass_: str) -> TimedProgram:
    """A variant's forward pass, or its training step."""
    import torch

    model, xs = variant.model, variant.xs.detach().requires_grad_(pass_ == "train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def forward() -> None:
        with torch.no_grad():
            model(xs)

    def train() -> None:
        optimizer.zero_grad()
        xs.grad = None
        model(xs).float().square().mean().backward()
        optimizer.step()

    def wait(results: None) -> None:
        if xs.is_cuda:
            torch.cuda.synchronize()

    launch = forward if pass_ == "forward" else train
    return TimedProgram(launch, wait, launches=LAUNCHES if xs.is_cuda else 1)


class _FirstOutput:
    """A recurrent layer of torch that returns only its outputs, not its last state."""

    def __init__(self, layer):
        self.layer = layer
        self.parameters = layer.parameters

    def __call__(self, xs):
        return self.layer(xs)[0]


def log_space_cell(
    name: str, width: int, options: dict[str, Any], features: int | None = None
) -> Callable[[Any], Any]:
    """A minimal cell from the zero state as published: cumulative sums of logarithms, then exp.

    `features` None is `width`. Source: arXiv 2410.01201, appendix B.
    """
    import torch
    from torch.nn import functional as F

    projections = _projections(name, width, features or width, options)

    def log_g(x):
        return torch.where(x >= 0, (F.relu(x) + 0.5).log(), -F.softplus(-x))

    def coefficients(xs):
        pre = [projection(xs) for projection in projections]
        if name == "mingru":
            return -F.softplus(pre[0]), -F.softplus(-pre[0]) + log_g(pre[1])
        gap = F.softplus(-pre[0]) - F.softplus(-pre[1])
        return -F.softplus(gap), -F.softplus(-gap) + log_g(pre[2])

    def run(xs):
        log_a, log_b = coefficients(xs)
        log_s = log_a.cumsum(1)
        return (log_s + (log_b - log_s).logcumsumexp(1)).exp()

    run.parameters, run.projections = projections.parameters, projections
    return run


def scanned_cell(
    scan: Callable[[Any, Any], Any], name: str, width: int, options: dict[str, Any]
) -> Callable[[Any], Any]:
    """A minimal cell in real space by `scan(a, b)`, whose arrays are (batch, features, time)."""
    import torch
    from torch.nn import functional as F

    projections = _projections(name, width, width, options)

    def run(xs):
        pre = [projection(xs) for projection in projections]
        g = torch.where(pre[-1] >= 0, pre[-1] + 0.5, pre[-1].sigmoid())
        if name == "mingru":
            a, b = (-pre[0]).sigmoid(), pre[0].sigmoid() * g
        else:
            gap = F.softplus(-pre[0]) - F.softplus(-pre[1])
            a, b = (-gap).sigmoid(), gap.sigmoid() * g
        a, b = (x.transpose(1, 2).contiguous() for x in (a, b))
        return scan(a, b).transpose(1, 2)

    run.parameters, run.projections = projections.parameters, projections
    return run


def _projections(name, width, features, options):
    import torch

    count = 2 if name == "mingru" else 3
    return torch.nn.ModuleList(torch.nn.Linear(width, features, **options) for _ in range(count))
