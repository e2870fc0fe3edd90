"""Dropout: a pure function of a key, and the modes of the layers that use it."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.errors import TraceContextError
from jax import Array
from jaxtyping import Float, Key

from rnnlab.call_arguments import BatchShape
from rnnlab.recurrent import Recurrent
from rnnlab.scan.time_shards import TIME_AXIS
from rnnlab.scan.varying import varying_axes
from rnnlab.validation import require_positive_int


def dropout(
    x: Float[Array, "*shape"],
    rate: float,
    key: Key[Array, ""] | None,
    *,
    broadcast_axis: int | None = None,
) -> Float[Array, "*shape"]:
    """Sets each entry to 0 with probability `rate` and scales the others by `1 / (1 - rate)`.

    Without a key, x is returned unchanged. All entries along `broadcast_axis` share one draw; with
    the time axis, this is variational dropout.

    Inside `jax.shard_map`, each device that has entries of its own draws its own: the key is folded
    with the device's place on the mesh axes over which x varies and the key does not. The draws
    differ from those of one device. Variational dropout is the same on all parts of a time axis
    that is cut over devices.

    Raises:
      ValueError: rate is not in [0, 1).

    Source: Srivastava et al., "Dropout", JMLR 15 (2014), in its inverted form; variational: Gal and
    Ghahramani, arXiv 1512.05287.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.ones(4)
    >>> bool((dropout(x, 0.5, None) == x).all())
    True
    >>> sorted(set(dropout(jnp.ones(99), 0.5, jax.random.key(0)).tolist()))
    [0.0, 2.0]
    """
    require_rate("rate", rate)
    if key is None or rate == 0:
        return x
    shape = list(x.shape)
    axes = varying_axes(x) - varying_axes(key)
    if broadcast_axis is not None:
        shape[broadcast_axis] = 1
        axes -= {TIME_AXIS}
    for axis in sorted(axes):
        key = jax.random.fold_in(key, jax.lax.axis_index(axis))
    kept = jnp.broadcast_to(jax.random.bernoulli(key, 1 - rate, shape), x.shape)
    return jnp.where(kept, x / (1 - rate), 0)


class DropoutLayer(Recurrent):
    """Base class of layers with dropout, which decides whether a call applies it.

    `deterministic` is None as constructed, False after `train()` of any module around the layer,
    and True after `eval()`:

    - With a key, or `rngs`, a call applies dropout unless `deterministic` is True.
    - Without one, a layer that was constructed with `rngs` that have a stream named `dropout`, such
      as `nnx.Rngs(0, dropout=1)`, draws a key from its copy of that stream. This changes the
      layer's state, so it needs `nnx.jit` instead of `jax.jit`.
    - Otherwise `deterministic=False` raises ValueError, and None warns that there is no dropout.

    Args:
      rate: dropout rate in [0, 1).
      rngs: random streams; None has no stream `dropout`.

    Raises:
      ValueError: rate is not in [0, 1).
    """

    def __init__(self, rate: float, rngs: nnx.Rngs | None):
        require_rate("dropout", rate)
        self.dropout = rate
        self.deterministic: bool | None = None
        has_stream = rate > 0 and rngs is not None and "dropout" in rngs
        self.dropout_stream = rngs["dropout"].fork() if has_stream else nnx.data(None)

    def set_view(self, deterministic: bool | None = None) -> None:
        """Sets the mode, for `nnx.view(model, deterministic=True)`.

        Args:
          deterministic: whether calls omit dropout.
        """
        if deterministic is not None:
            self.deterministic = deterministic

    def dropout_key(self, key: Array | None) -> Array | None:
        """Returns the key of a call, given or from the layer's stream; None without dropout.

        Raises:
          ValueError: the layer is in training mode and has no key, or its stream cannot advance.
        """
        if key is not None or self.dropout == 0 or self.deterministic:
            return key
        name = f"{type(self).__name__} with dropout {self.dropout}"
        if self.dropout_stream is not None:
            try:
                return self.dropout_stream()
            except TraceContextError:
                raise ValueError(
                    f"{name} must advance its stream of keys, which jax.jit and jax.grad do not "
                    "allow for a module from outside; use nnx.jit and nnx.grad, or pass key="
                ) from None
        if self.deterministic is False:
            raise ValueError(
                f"key must be given to {name} in training mode, got None; pass key= or rngs=, or "
                "call .eval()"
            )
        warnings.warn(
            f"{name} got no key and applies no dropout; pass key= or rngs= to train, or call "
            ".eval() on the model to evaluate",
            stacklevel=2,
        )
        return None

    def drop(self, x: Array, key: Array | None, *, broadcast_axis: int | None = None) -> Array:
        """Returns x after dropout, or x if the layer is deterministic or there is no key."""
        rate = 0.0 if self.deterministic else self.dropout
        return dropout(x, rate, key, broadcast_axis=broadcast_axis)


class Dropout(DropoutLayer):
    """Dropout between two layers of a `Stack`, without a carry.

    Args:
      features: width of input and output.
      rate: dropout rate in [0, 1).
      rngs: with a stream named `dropout`, the layer draws its keys from a copy of it where a call
        has none, as `flax.nnx.Dropout` does.
      variational: whether all time steps of a sequence share one dropout mask.

    Raises:
      ValueError: an option is out of range, or a call in training mode has no key.

    >>> import jax, jax.numpy as jnp
    >>> layer = Dropout(3, 0.5)
    >>> layer.train()
    >>> carry, ys = layer(jnp.ones((2, 5, 3)), key=jax.random.key(0))
    >>> sorted(set(ys.flatten().tolist()))
    [0.0, 2.0]
    >>> layer.eval()
    >>> float(layer(jnp.ones((2, 5, 3)))[1].max())
    1.0
    """

    def __init__(
        self,
        features: int,
        rate: float,
        *,
        rngs: nnx.Rngs | None = None,
        variational: bool = False,
    ):
        super().__init__(rate, rngs)
        require_positive_int(features=features)
        self.in_features = features
        self.features = features
        self.variational = variational

    @property
    def rate(self) -> float:
        """The dropout rate."""
        return self.dropout

    def initial_carry(self, batch_shape: BatchShape = ()) -> tuple[()]:
        """Returns (), since nothing is carried."""
        return ()

    def run_sequence(self, carry, xs, reset, mask, key):
        time_axis = -2 if self.variational else None
        return carry, self.drop(xs, self.dropout_key(key), broadcast_axis=time_axis)

    def run_step(self, carry, x, reset, mask, key):
        return carry, self.drop(x, self.dropout_key(key))


def stored_key(module: Any) -> Array | None:
    """Returns a key from the first stream of a layer with dropout in a module, or None."""
    for _, layer in nnx.iter_modules(module):
        if isinstance(layer, DropoutLayer) and layer.dropout_stream and not layer.deterministic:
            return layer.dropout_stream()
    return None


def require_rate(name: str, rate: float) -> None:
    """Raises ValueError unless `rate` is in [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name} must be in [0, 1), got {rate}")


def key_option(layer: Any, key: Array | None) -> dict[str, Array | None]:
    """Returns `{"key": key}` for a `Recurrent`; the contract of other cells has no key."""
    return {"key": key} if isinstance(layer, Recurrent) else {}
