"""Build the model that a configuration describes for the sizes and the loss of a task."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx

from rnnlab.layers import (
    Bidirectional,
    Block,
    CrossAttentionBlock,
    DecoderStack,
    InputFeeding,
    Stack,
)
from rnnlab.models.encoder_decoder import EncoderDecoder
from rnnlab.models.sequence_model import SequenceModel
from rnnlab.models.transducer import Transducer
from rnnlab.registry import CellEntry, find_cell
from rnnlab.validation import require_one_of

if TYPE_CHECKING:
    from rnnlab.models.config import ModelConfig

SOURCE_SETTINGS = ("encoder_depth", "attention_heads", "input_feeding")
"""Settings of a configuration that only models of data with a source have."""

ATTENTION_HEADS = 4
"""Heads of the attention over a source where the configuration has no number."""


def require_buildable(config: "ModelConfig") -> None:
    """Builds the shapes of a model before its data is known, with placeholder sizes.

    The data has a source where a setting needs one.

    Raises:
      ValueError: a setting is out of range, or settings do not fit together.
    """
    sizes = {"in_features": 3, "num_variables": 1}
    fields = type(config).__dataclass_fields__
    if any(getattr(config, name) != fields[name].default for name in SOURCE_SETTINGS):
        sizes["source_features"] = 3
    nnx.eval_shape(lambda: config.build(2, **sizes, rngs=nnx.Rngs(0)))


def build_model(
    config: "ModelConfig",
    out_features: int,
    *,
    rngs: nnx.Rngs,
    vocab_size: int | None,
    in_features: int | None,
    num_variables: int,
    source_vocab_size: int | None,
    source_features: int | None,
    word_sizes: tuple[int, int] | None,
    loss: Any,
) -> SequenceModel | EncoderDecoder | Transducer:
    """Returns a model of a configuration, of the kind that the task needs.

    A task with a source gets an `EncoderDecoder`, one whose loss is `"transducer"` a `Transducer`,
    others a `SequenceModel`.

    Args:
      config: the settings.
      out_features, vocab_size, in_features, num_variables, source_vocab_size, source_features,
        word_sizes, loss: as in `TaskData`.
      rngs: source of the keys of the parameters.

    Raises:
      ValueError: a setting does not fit the data.
    """
    dtypes = {"rngs": rngs, "dtype": jnp.dtype(config.dtype)}
    if source_vocab_size is not None or source_features is not None:
        return _encoder_decoder(
            config,
            out_features,
            vocab_size=vocab_size,
            in_features=in_features,
            source_vocab_size=source_vocab_size,
            source_features=source_features,
            **dtypes,
        )
    for name in SOURCE_SETTINGS:
        _require_default(config, name, "for data without a source, which has no encoder")
    if config.input_decay and not num_variables:
        raise ValueError(
            "input_decay must be False for data without flags of observed values, "
            "got True; remove --model.input-decay"
        )
    if isinstance(loss, str) and loss == "transducer":
        return _transducer(
            config,
            out_features,
            vocab_size=vocab_size,
            in_features=in_features,
            input_decay=num_variables if config.input_decay else 0,
            word_sizes=word_sizes,
            **dtypes,
        )
    return SequenceModel(
        build_stack(config, rngs=rngs),
        out_features,
        vocab_size=vocab_size,
        in_features=in_features,
        readout=config.readout,
        tie_embeddings=config.tie_embeddings,
        input_decay=num_variables if config.input_decay else 0,
        word_sizes=word_sizes,
        **dtypes,
    )


def _encoder_decoder(
    config: "ModelConfig", out_features: int, *, rngs: nnx.Rngs, dtype: Any, **sizes: int | None
) -> EncoderDecoder:
    """Builds a model of an encoder, which is bidirectional, and a decoder that attends to it."""
    for name in ("bidirectional", "cell_features", "input_decay", "readout"):
        _require_default(config, name, "for data with a source, whose model is an encoder-decoder")
    dtypes = {"rngs": rngs, "dtype": dtype}
    encoder = build_stack(config, rngs=rngs, depth=config.encoder_depth, bidirectional=True)
    layers = build_stack(config, rngs=rngs, has_mlp=False).layers
    attention = [
        CrossAttentionBlock(
            config.width,
            config.width,
            heads=config.attention_heads or ATTENTION_HEADS,
            mlp_expansion=config.mlp_expansion,
            dropout=config.dropout,
            variational=config.variational,
            **dtypes,
        )
        for _ in layers
    ]
    decoder = DecoderStack(list(layers), attention, remat=config.remat)
    if config.input_feeding:
        decoder = InputFeeding(decoder, **dtypes)
    return EncoderDecoder(
        encoder,
        decoder,
        out_features,
        tie_embeddings=config.tie_embeddings,
        **sizes,
        **dtypes,
    )


def _transducer(
    config: "ModelConfig", out_features: int, *, rngs: nnx.Rngs, dtype: Any, **inputs: Any
) -> Transducer:
    """Builds a transducer, whose encoder is the stack of a configuration.

    The prediction network has one block per kind of cell, and reads labels in one direction. The
    outputs of both are as wide as the stream.
    """
    for name in ("readout", "tie_embeddings"):
        _require_default(config, name, "for the loss 'transducer', whose model lacks it")
    dtypes = {"rngs": rngs, "dtype": dtype}
    encoder = SequenceModel(build_stack(config, rngs=rngs), config.width, **inputs, **dtypes)
    causal = dataclasses.replace(config, bidirectional=False, cell_features=None)
    labels = build_stack(causal, rngs=rngs, depth=len(config.cell.split("+")))
    predictor = SequenceModel(labels, config.width, vocab_size=out_features, **dtypes)
    return Transducer(encoder, predictor, out_features, **dtypes)


def build_stack(
    config: "ModelConfig",
    *,
    rngs: nnx.Rngs,
    depth: int | None = None,
    bidirectional: bool = False,
    has_mlp: bool = True,
) -> Stack:
    """Returns a stack of blocks around the cells of a configuration.

    Args:
      config: the settings.
      rngs: source of the keys of the parameters.
      depth: number of blocks; None: that of the configuration.
      bidirectional: whether each recurrent cell has a second one that reads from the end, also
        where the configuration has none.
      has_mlp: whether blocks have the MLP of the configuration.

    Raises:
      ValueError: the depth is less than the number of cells, or a width does not fit.
    """
    depth = config.depth if depth is None else depth
    entries = [find_cell(name) for name in config.cell.split("+")]
    if depth < len(entries):
        raise ValueError(
            f"depth must be >= {len(entries)} for cell {config.cell!r}, got {depth}; "
            "raise --model.depth"
        )
    if config.cell_features is not None and len(config.cell_features) != depth:
        raise ValueError(
            f"cell_features must have one number per block, {depth}, got "
            f"{len(config.cell_features)}; correct --model.cell-features"
        )
    common = {
        "bidirectional": bidirectional or config.bidirectional,
        "mlp_expansion": config.mlp_expansion if has_mlp else None,
        "rngs": rngs,
        "dtype": jnp.dtype(config.dtype),
    }
    layers = [_layer(config, entries[k % len(entries)], k, **common) for k in range(depth)]
    return Stack(layers, remat=config.remat)


def _layer(
    config: "ModelConfig",
    entry: CellEntry,
    k: int,
    *,
    bidirectional: bool,
    mlp_expansion: int | None,
    **dtypes: Any,
) -> nnx.Module:
    """Builds the k-th layer: a residual block around the cell, or the cell if it is one."""
    cls = entry.load()
    options = {**config.options_of(entry), **entry.layer_options(k)}
    features = None if config.cell_features is None else config.cell_features[k]
    if features is not None and _has_fixed_width(entry):
        require_one_of(f"cell_features[{k}]", features, (config.width,))
        features = None
    if entry.block is None:
        return cls(config.width, dropout=config.dropout, **options, **dtypes)
    cell = partial(cls, **options)
    if bidirectional and entry.kind == "cell":
        cell = partial(_bidirectional, cell)
    block = {
        "expansion": config.expansion,
        "cell_features": features,
        "conv_kernel_size": config.conv_kernel_size,
        "mlp_expansion": mlp_expansion,
        "dropout": config.dropout,
        "variational": config.variational,
        **entry.block,
    }
    return Block(config.width, cell, **block, **dtypes)


def _require_default(config: "ModelConfig", name: str, where: str) -> None:
    """Raises ValueError unless a setting that no part of the model has is the default."""
    value, default = getattr(config, name), type(config).__dataclass_fields__[name].default
    if value != default:
        raise ValueError(
            f"{name} must be {default!r} {where}, got {value!r}; remove "
            f"--model.{name.replace('_', '-')}"
        )


def _has_fixed_width(entry: CellEntry) -> bool:
    """Whether a layer is always as wide as the stream."""
    return entry.block is None or "expansion" in entry.block


def _bidirectional(cell: Callable[..., nnx.Module], width: int, features: int, **common: Any):
    return Bidirectional(cell(width, features, **common), cell(width, features, **common))
