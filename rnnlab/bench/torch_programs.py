"""The same layer in PyTorch, where it is installed: its cells, and the minimal ones as published.

torch is never a dependency. `available()` says whether it can take part on a platform.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab.bench.timing import Prepared
from rnnlab.bench.variants import Problem, make_cell
from rnnlab.registry import REGISTRY

LOG_SPACE = "log space"
"""The registry's name of the published form of a minimal cell."""


def available(platform: str) -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return platform == "cpu" or (platform == "gpu" and torch.cuda.is_available())


class TorchForm(NamedTuple):
    """A layer in torch: `model(xs)` gives all steps' outputs, for inputs like `xs`."""

    model: Any
    xs: Any

    def outputs(self) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.model(self.xs).float().cpu().numpy()


def torch_form(name: str, problem: Problem, scan: Callable[..., Any] | None = None) -> TorchForm:
    """`torch.nn.RNN`, `GRU` or `LSTM`, or a minimal cell, with rnnlab's parameters and inputs.

    A minimal cell is in the paper's log space, or runs on `scan(a, b)`, as `scanned_cell` does.
    """
    import torch

    device = "cuda" if problem.device.platform == "gpu" else "cpu"
    options = {"device": device, "dtype": getattr(torch, problem.dtype)}
    weights = nnx.to_pure_dict(nnx.state(make_cell(name, problem), nnx.Param))
    peer = REGISTRY[name].torch
    if peer is None:
        raise ValueError(f"cell {name!r} has no peer in torch; remove it from --cells")
    if peer == LOG_SPACE:
        make = log_space_cell if scan is None else partial(scanned_cell, scan)
        model = make(name, problem.width, options)
        copies = []
        for layer, key in zip(model.projections, REGISTRY[name].load().projections, strict=True):
            copies.append((layer.weight, weights[f"{key}_kernel"].T))
            copies.append((layer.bias, weights[f"{key}_bias"]))
    else:
        layer = getattr(torch.nn, peer)(problem.width, problem.width, batch_first=True, **options)
        model = _FirstOutput(layer)
        state_bias = jnp.zeros_like(weights["bias"])
        if name == "gru":
            state_bias = state_bias.at[-problem.width :].set(weights["candidate_bias"])
        copies = [
            (layer.weight_ih_l0, weights["kernel"].T),
            (layer.weight_hh_l0, weights["recurrent_kernel"].T),
            (layer.bias_ih_l0, weights["bias"]),
            (layer.bias_hh_l0, state_bias),
        ]
    with torch.no_grad():
        for target, source in copies:
            target.copy_(torch.tensor(np.asarray(source)))
    xs = torch.tensor(np.asarray(problem.inputs().astype(jnp.float32))).to(**options)
    return TorchForm(model, xs)


def torch_program(form: TorchForm, pass_: str) -> Prepared:
    """A form's forward pass, or its training step."""
    import torch

    model, xs = form.model, form.xs.detach().requires_grad_(pass_ == "train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def finish() -> None:
        if xs.is_cuda:
            torch.cuda.synchronize()

    def forward() -> None:
        with torch.no_grad():
            model(xs)
        finish()

    def train() -> None:
        optimizer.zero_grad()
        xs.grad = None
        model(xs).float().square().mean().backward()
        optimizer.step()
        finish()

    return Prepared(forward if pass_ == "forward" else train)


class _FirstOutput:
    """A recurrent layer of torch, its outputs without its last state."""

    def __init__(self, layer):
        self.layer = layer
        self.parameters = layer.parameters

    def __call__(self, xs):
        return self.layer(xs)[0]


def log_space_cell(
    name: str, width: int, options: dict[str, Any], features: int | None = None
) -> Callable[[Any], Any]:
    """Appendix B of arXiv 2410.01201, from zeros: cumulative sums of logarithms, then exp.

    `features` None is `width`.
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
    """A minimal cell in real space on `scan(a, b)`, whose arrays are (batch, features, time)."""
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
