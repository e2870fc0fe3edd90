"""Models by name: the settings that an experiment varies, and the model that they describe."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.cells import CELLS
from rnnlab.layers import Bidirectional, Block, Stack
from rnnlab.layers.attention import Attention
from rnnlab.layers.mamba import Mamba
from rnnlab.layers.tcn import TemporalBlock
from rnnlab.models import SequenceModel


@dataclass(frozen=True)
class ModelConfig:
    """A stack of blocks around one kind of cell, or around several in turn.

    Attributes:
      cell: rnn, gru, lstm, mingru, minlstm, mamba, transformer or tcn; several joined by "+" take
        turns over the depth, as in "mingru+mingru+transformer".
      width: width of the residual stream.
      depth: number of blocks.
      expansion: width of the cell over that of the stream (not transformer, tcn).
      conv_size: taps of the causal convolution before a recurrent cell; None leaves it out.
      mlp_expansion: hidden width of each block's MLP over the stream's; None leaves it out (never
        in mamba and tcn, which have none).
      dropout: rate after each branch.
      variational: whether dropout holds over all steps of a sequence (not in tcn).
      candidate: activation of a minimal cell's candidate: positive, identity or tanh.
      gate_range: range of a minimal cell's decay: 0 1, or -1 1, which lets states change sign.
      forget_bias: what is added to minLSTM's forget bias.
      normalize: whether minLSTM's gates are divided by their sum.
      learned_carry: whether a minimal cell's initial state is learned, from N(0, 1).
      bidirectional: whether each recurrent cell has a twin that reads from the end.
      readout: step predicts from the last output, mean from the mean of the outputs so far.
      tied: whether the head shares the embedding's matrix.
      heads: attention heads of a transformer block.
      context: steps that its attention sees, itself included.
      state_size: states a feature of mamba.
      kernel_size: taps of tcn's convolutions, whose dilation doubles from block to block.
      dtype: dtype of the computation; parameters are float32.
      remat: whether the backward pass computes each block anew instead of keeping its inside.
    """

    cell: str = "mingru"
    width: int = 128
    depth: int = 2
    expansion: int = 2
    conv_size: int | None = 4
    mlp_expansion: int | None = 4
    dropout: float = 0.0
    variational: bool = False
    candidate: Literal["positive", "identity", "tanh"] = "positive"
    gate_range: tuple[int, int] = (0, 1)
    forget_bias: float = 0.0
    normalize: bool = True
    learned_carry: bool = False
    bidirectional: bool = False
    readout: Literal["step", "mean"] = "step"
    tied: bool = False
    heads: int = 4
    context: int = 256
    state_size: int = 16
    kernel_size: int = 3
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False

    def __post_init__(self) -> None:
        names = self.cell.split("+")
        for name in names:
            if name not in LAYERS:
                close = difflib.get_close_matches(name, LAYERS, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(LAYERS)}"
                raise ValueError(f"cell is {self.cell!r}, where {name!r} is unknown; {hint}")
        if self.depth < len(names):
            raise ValueError(
                f"depth is {self.depth}; at least {len(names)} is needed, for {self.cell!r}"
            )

    def build(
        self,
        out_features: int,
        *,
        rngs: nnx.Rngs,
        vocab_size: int | None = None,
        in_features: int | None = None,
    ) -> SequenceModel:
        """The model for a task's inputs and outputs.

        >>> from flax import nnx
        >>> model = ModelConfig(width=8).build(5, vocab_size=5, rngs=nnx.Rngs(0))
        >>> count_parameters(model), state_bytes(model)
        (2157, 320)
        """
        names = self.cell.split("+")
        layers = [
            LAYERS[names[k % len(names)]](self, k, rngs=rngs, dtype=jnp.dtype(self.dtype))
            for k in range(self.depth)
        ]
        return SequenceModel(
            Stack(layers, remat=self.remat),
            out_features,
            vocab_size=vocab_size,
            in_features=in_features,
            readout=self.readout,
            tied=self.tied,
            rngs=rngs,
            dtype=jnp.dtype(self.dtype),
        )


def count_parameters(model: nnx.Module) -> int:
    """Number of parameters.

    >>> from rnnlab import MinGRU
    >>> count_parameters(MinGRU(3, 4, rngs=nnx.Rngs(0)))  # 2 (3 x 4 + 4)
    32
    """
    return sum(p.size for p in jax.tree.leaves(nnx.state(model, nnx.Param)))


def state_bytes(model: nnx.Module) -> int:
    """Bytes that one stream's carry takes, whatever its length.

    >>> from rnnlab import LSTM
    >>> state_bytes(LSTM(3, 4, rngs=nnx.Rngs(0)))  # c and h, 4 bytes a number
    32
    """
    carry = jax.eval_shape(lambda: model.initial_carry(()))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(carry))


def _recurrent(name: str, options: Callable[[ModelConfig], Mapping[str, Any]]):
    def make(of: ModelConfig, k: int, **common: Any) -> nnx.Module:
        cell = partial(CELLS[name], **options(of))
        return Block(
            of.width,
            partial(_both_ways, cell) if of.bidirectional else cell,
            expansion=of.expansion,
            conv_kernel_size=of.conv_size,
            **_branches(of),
            **common,
        )

    return make


def _both_ways(cell: Callable[..., nnx.Module], width: int, features: int, **common: Any):
    return Bidirectional(cell(width, features, **common), cell(width, features, **common))


def _transformer(of: ModelConfig, k: int, **common: Any) -> nnx.Module:
    attention = partial(Attention, heads=of.heads, window=of.context)
    return Block(of.width, attention, **_branches(of), **common)


def _mamba(of: ModelConfig, k: int, **common: Any) -> nnx.Module:
    cell = partial(Mamba, state_size=of.state_size)
    branches = {**_branches(of), "mlp_expansion": None}
    return Block(of.width, cell, expansion=of.expansion, **branches, **common)


def _tcn(of: ModelConfig, k: int, **common: Any) -> nnx.Module:
    options = {"kernel_size": of.kernel_size, "dilation": 2**k, "dropout": of.dropout}
    return TemporalBlock(of.width, **options, **common)


def _branches(of: ModelConfig) -> dict[str, Any]:
    return {
        "mlp_expansion": of.mlp_expansion,
        "dropout": of.dropout,
        "variational": of.variational,
    }


def _minimal(of: ModelConfig) -> dict[str, Any]:
    start = nnx.initializers.normal(1.0) if of.learned_carry else None
    return {"candidate": of.candidate, "gate_range": of.gate_range, "carry_init": start}


def _minlstm(of: ModelConfig) -> dict[str, Any]:
    return {**_minimal(of), "forget_bias": of.forget_bias, "normalize": of.normalize}


LAYERS: dict[str, Callable[..., nnx.Module]] = {
    "rnn": _recurrent("rnn", lambda of: {}),
    "gru": _recurrent("gru", lambda of: {}),
    "lstm": _recurrent("lstm", lambda of: {}),
    "mingru": _recurrent("mingru", _minimal),
    "minlstm": _recurrent("minlstm", _minlstm),
    "mamba": _mamba,
    "transformer": _transformer,
    "tcn": _tcn,
}
"""What makes the k-th layer, by the names that `ModelConfig.cell` takes."""
