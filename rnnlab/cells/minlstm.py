"""minLSTM: an LSTM without output gate and second state, whose gates read only the input."""

from dataclasses import dataclass
from typing import Unpack

import jax
from flax import nnx
from jax import Array
from jax import numpy as jnp

from rnnlab.cells.minimal import CANDIDATES, MinimalCell, MinimalCellOptions, rescale_decay


@dataclass(frozen=True)
class MinLSTMCoefficients:
    """Coefficients of `h = a h + b` from the pre-activations of both gates and the candidate.

        f = sigmoid(forget),  i = sigmoid(input),  a = f / (f + i),  b = i / (f + i) * g(candidate)

    Without `normalize`: a = f, b = i * g(candidate). Pointwise and hashed by value, as
    `rnnlab.gated_scan` needs.

    >>> import jax.numpy as jnp
    >>> a, b = MinLSTMCoefficients()(jnp.zeros(1), jnp.zeros(1), jnp.ones(1))
    >>> print(a, b)
    [0.5] [0.75]
    """

    candidate: str = "positive"
    decay_range: tuple[int, int] = (0, 1)
    normalize: bool = True

    def __call__(self, forget: Array, input: Array, candidate: Array) -> tuple[Array, Array]:
        if self.normalize:
            a, i = _normalized_gates(forget, input)
        else:
            a, i = jax.nn.sigmoid(forget), jax.nn.sigmoid(input)
        return rescale_decay(a, self.decay_range), i * CANDIDATES[self.candidate](candidate)


@jax.custom_jvp
def _normalized_gates(forget: Array, input: Array) -> tuple[Array, Array]:
    """Returns f / (f + i) and i / (f + i), without the 0/0 of two closed gates.

    With u = exp(-forget) and v = exp(-input) they are (1 + v) and (1 + u) over 2 + u + v: two
    exponentials, where the paper's form through softplus takes four and two logarithms.
    """
    u, v, scale = _stable_exps(forget, input)
    return (1 + v) * scale, (1 + u) * scale


@_normalized_gates.defjvp
def _normalized_gates_jvp(primals, tangents):
    # d log(a / b) = (1 - f) dforget - (1 - i) dinput with 1 - f = u / (1 + u), 1 - i = v / (1 + v).
    u, v, scale = _stable_exps(*primals)
    a, b = (1 + v) * scale, (1 + u) * scale
    da = a * (u * scale) * tangents[0] - b * (v * scale) * tangents[1]
    return (a, b), (da, -da)


def _stable_exps(forget: Array, input: Array) -> tuple[Array, Array, Array]:
    """Returns u, v and 1 / (2 + u + v), rescaled to avoid overflow.

    Above exp(40) the added ones are below float32 resolution, so a common factor of u and v
    cancels. Either of them is limited to exp(87), near the largest float32: the other gate's share
    is then 1 to full precision.
    """
    common = jnp.maximum(jnp.minimum(-forget, -input) - 40, 0)
    u = jnp.exp(jnp.minimum(-forget - common, 87))
    v = jnp.exp(jnp.minimum(-input - common, 87))
    return u, v, 1 / (2 + u + v)


class MinLSTM(MinimalCell):
    """minLSTM. Trains in parallel over time and streams with one state of `features` numbers.

        f[t] = sigmoid(x[t] Wf + bf),  i[t] = sigmoid(x[t] Wi + bi)
        c[t] = g(x[t] Wc + bc)
        a[t] = f[t] / (f[t] + i[t])
        h[t] = a[t] h[t-1] + (1 - a[t]) c[t],   y[t] = h[t]

    Args:
      in_features, features: width of the input and of the state.
      rngs: source of the parameters' keys.
      normalize: divides both gates by their sum. The paper does, its released settings do not.
      forget_bias: added to the initial bias of the forget gate. The paper's ablation trains faster
        with it raised; its released configurations have 3.
      candidate: g, one of `"positive"` (the paper's, default), `"identity"`, `"tanh"`.
      decay_range: range of the decay: (0, 1), or (-1, 1) for a decay of `2 a - 1`.
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

    Source: arXiv 2410.01201, section 3.2; in real space, where the paper trains in log space.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> cell = MinLSTM(3, 8, rngs=nnx.Rngs(0))
    >>> carry, y = cell.step(cell.initial_carry(()), jnp.ones(3))
    >>> carry.shape, y.shape
    ((8,), (8,))
    """

    projections = ("forget", "input", "candidate")

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        normalize: bool = True,
        forget_bias: float = 0.0,
        **options: Unpack[MinimalCellOptions],
    ):
        super().__init__(in_features, features, rngs=rngs, **options)
        self.normalize = normalize
        self.forget_bias[...] += forget_bias

    @property
    def coefficients(self) -> MinLSTMCoefficients:
        """The pointwise function from the pre-activations to (a, b)."""
        return MinLSTMCoefficients(self.candidate, self.decay_range, self.normalize)
