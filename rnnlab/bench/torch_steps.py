"""A step of a GRU language model in PyTorch: `torch.nn.GRU` in the blocks of `rnnlab.Block`."""

from typing import Any

import numpy as np

from rnnlab.bench.steps import StepProgram
from rnnlab.call_validation import uses_gaps
from rnnlab.cells import GRU
from rnnlab.interop import torch as torch_weights
from rnnlab.layers import Block, Stack
from rnnlab.layers.norm import EPSILON
from rnnlab.models import SequenceModel


def has_torch_twin(model: SequenceModel) -> bool:
    """Whether `torch_step` can run a model: tokens, and blocks of torch's variant of the GRU.

    >>> from flax import nnx
    >>> from rnnlab import ModelConfig
    >>> [has_torch_twin(ModelConfig(cell, 8, 1).build(5, vocab_size=5, rngs=nnx.Rngs(0)))
    ...  for cell in ("gru", "mingru")]
    [True, False]
    """
    if model.vocab_size is None or model.pooling or not isinstance(model.body, Stack):
        return False
    blocks = [layer for layer in model.body.layers if isinstance(layer, Block)]
    cells = [block.cell for block in blocks if isinstance(block.cell, GRU)]
    return len(cells) == len(model.body.layers) and all(
        cell.reset_after and not uses_gaps(cell) for cell in cells
    )


def torch_step(model: SequenceModel, batch_size: int, threads: int) -> StepProgram:
    """A step of the model in PyTorch, in eager mode and without gradients.

    The weights of the cells are mapped by `rnnlab.interop.torch`, all others are used as they are.

    Args:
      model: one for which `has_torch_twin` is True.
      batch_size: parallel streams.
      threads: of torch, for the whole process; set at the start of each stream.
    """
    import torch
    from torch.nn import functional as F

    def tensor(parameter: Any) -> Any:
        return torch.tensor(np.asarray(parameter))

    def linear(layer: Any) -> Any:
        module = torch.nn.Linear(*layer.kernel.shape)
        module.weight.data, module.bias.data = tensor(layer.kernel.T), tensor(layer.bias)
        return module

    def norm(layer: Any) -> Any:
        module = torch.nn.RMSNorm(len(layer.scale), eps=EPSILON)
        module.weight.data = tensor(layer.scale)
        return module

    def gru(cell: GRU) -> Any:
        module = torch.nn.GRU(cell.in_features, cell.features)
        weights = torch_weights.state_dict(Stack([cell]))
        module.load_state_dict({name: tensor(x) for name, x in weights.items()})
        return module

    def mlp(layers: Any) -> Any:
        first, inner, _, outer = layers
        activation = torch.nn.GELU(approximate="tanh")
        return torch.nn.Sequential(norm(first), linear(inner), activation, linear(outer))

    class TorchBlock:
        def __init__(self, block: Block):
            self.norm, self.cell = norm(block.norm), gru(block.cell)
            self.project = linear(block.project)
            self.mlp = None if block.mlp is None else mlp(block.mlp.layers)
            self.conv = None
            if block.conv is not None:  # kernel[k] belongs to x[t-k], the window's last but k
                self.conv = tensor(block.conv.kernel[::-1]), tensor(block.conv.bias)
                self.taps = block.conv.kernel_size

        def start(self) -> tuple[Any, Any]:
            window = None
            if self.conv is not None:
                window = torch.zeros(batch_size, self.taps - 1, self.cell.input_size)
            return window, torch.zeros(1, batch_size, self.cell.hidden_size)

        def step(self, carry: tuple[Any, Any], x: Any) -> tuple[tuple[Any, Any], Any]:
            window, state = carry
            y = self.norm(x)
            if self.conv is not None:
                kernel, bias = self.conv
                full = torch.cat([window, y[:, None]], 1)
                window, y = full[:, 1:], (full * kernel).sum(1) + bias
            y, state = self.cell(y[None], state)
            x = x + self.project(y[0])
            if self.mlp is not None:
                x = x + self.mlp(x)
            return (window, state), x

    embedding = tensor(model.embedding)
    blocks = [TorchBlock(block) for block in model.body.layers]
    last_norm = norm(model.norm)
    head = tensor(model.embedding if model.head_kernel is None else model.head_kernel.T)
    head_bias = tensor(model.head_bias)

    def start() -> list[tuple[Any, Any]]:
        torch.set_num_threads(threads)
        return [block.start() for block in blocks]

    @torch.inference_mode()
    def step(carries, token):
        x = embedding[torch.from_numpy(token).long()]
        after = []
        for block, carry in zip(blocks, carries, strict=True):
            carry, x = block.step(carry, x)
            after.append(carry)
        return after, F.linear(last_norm(x), head, head_bias).numpy()

    return StepProgram(start, step)
