"""The LSTM on cuDNN, through `jax.experimental.rnn`: float32, on NVIDIA's GPUs.

cuDNN runs a whole sequence in one call, in batch-major order, and takes padded sequences by
their lengths. It has no resets, and JAX gives access only to its LSTM, not to its GRU.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import rnn


def lstm(
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    c: Array,
    h: Array,
    xs: Array,
    mask: Array | None,
) -> tuple[Array, Array, Array]:
    """Returns the last c and h, and all outputs, of `rnnlab.LSTM` with these parameters.

    Args:
      kernel, recurrent_kernel, bias: (in_features, 4 features), (features, 4 features) and
        (4 features,), gates in the order i, f, g, o, which is cuDNN's.
      c, h: (batch, features).
      xs: (batch, time, in_features).
      mask: (batch, time), True at the time steps of each sequence, which come first.

    Sums are those of float32, without the TF32 format that cuDNN may use otherwise, where JAX's
    matmul precision is "highest".
    """
    (batch_size, length, in_features), features = xs.shape, c.shape[-1]
    # cuDNN adds two biases; the LSTM here has one.
    parts = kernel.T, recurrent_kernel.T, bias, jnp.zeros_like(bias)
    weights = jnp.concatenate([part.reshape(-1) for part in parts])
    lengths = jnp.full(batch_size, length) if mask is None else mask.sum(-1)
    precision = jax.config.jax_default_matmul_precision
    ys, last_h, last_c = rnn.lstm(
        xs,
        h[None],
        c[None],
        weights,
        lengths.astype(jnp.int32),
        in_features,
        features,
        1,
        0.0,
        False,
        None if precision is None else jax.lax.Precision(precision),
    )
    empty = (lengths == 0)[:, None]
    return jnp.where(empty, c, last_c[0]), jnp.where(empty, h, last_h[0]), ys


def require_supported(dtype: jnp.dtype, reset: Array | None) -> None:
    """Raises ValueError where cuDNN cannot run.

    Args:
      dtype: dtype of the cell.
      reset: resets of the call, or None.
    """
    if dtype != jnp.float32:
        raise ValueError(
            f"dtype must be float32 for backend 'cudnn', got {dtype}; use backend 'scan'"
        )
    if reset is not None:
        raise ValueError("reset must be None for backend 'cudnn', got an array; use backend 'scan'")
    try:
        jax.local_devices(backend="cuda")
    except RuntimeError:
        raise ValueError(
            "backend 'cudnn' needs an NVIDIA GPU and JAX for CUDA, got only "
            f"{jax.default_backend()}; use backend 'scan'"
        ) from None
