"""minGRU: a GRU whose gate and candidate read only the input."""

from dataclasses import dataclass

from jax import Array

from rnnlab.cells.minimal import CANDIDATES, MinimalCell, rescale_decay, sigmoid_pair


@dataclass(frozen=True)
class MinGRUCoefficients:
    """Coefficients of `h = a h + b` from the pre-activations of the update gate and the candidate.

        z = sigmoid(update),  a = 1 - z,  b = z * g(candidate)

    Pointwise and hashed by value, as `rnnlab.gated_scan` needs.

    >>> import jax.numpy as jnp
    >>> a, b = MinGRUCoefficients()(jnp.zeros(1), jnp.ones(1))
    >>> print(a, b)
    [0.5] [0.75]
    """

    candidate: str = "positive"
    decay_range: tuple[int, int] = (0, 1)

    def __call__(self, update: Array, candidate: Array) -> tuple[Array, Array]:
        z, a = sigmoid_pair(update)
        return rescale_decay(a, self.decay_range), z * CANDIDATES[self.candidate](candidate)


class MinGRU(MinimalCell):
    """minGRU. Trains in parallel over time and streams with one state of `features` numbers.

        z[t] = sigmoid(x[t] Wz + bz)
        c[t] = g(x[t] Wc + bc)
        h[t] = (1 - z[t]) h[t-1] + z[t] c[t],   y[t] = h[t]

    Args:
      in_features, features: width of the input and of the state.
      rngs: source of the parameters' keys.
      candidate: g, one of `"positive"` (the paper's, default), `"identity"`, `"tanh"`.
      decay_range: range of the decay: (0, 1), or (-1, 1) for a decay of `2 (1 - z) - 1`.
      gap_decay: whether the state also decays with the time between inputs, `gaps` of a call.
      gap_rates: smallest and largest initial rate of that decay, per unit of the gaps.
      learn_initial_state: whether the initial state is a parameter; otherwise it is zeros.
      initial_state_init: initializer of that parameter.
      kernel_init, bias_init: initializers of each projection.
      dtype: dtype of the projections and of `ys`; None is `param_dtype`. Gates and carry are
        float32 (float64 where dtype is), so that cutting a sequence never changes them.
      param_dtype: dtype of the parameters.
      backend: backend of the scan; see `rnnlab.linear_scan`.

    Raises:
      ValueError: an option is unknown, or a call's shapes or dtypes do not fit.

    Source: arXiv 2410.01201, section 3.1; in real space, where the paper trains in log space.
    With the default candidate and bias 0 it is the paper's model.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> cell = MinGRU(3, 8, rngs=nnx.Rngs(0))
    >>> carry, ys = cell(cell.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> carry.shape, ys.shape
    ((2, 8), (2, 5, 8))
    """

    projections = ("update", "candidate")

    @property
    def coefficients(self) -> MinGRUCoefficients:
        """The pointwise function from the pre-activations to (a, b)."""
        return MinGRUCoefficients(self.candidate, self.decay_range)
