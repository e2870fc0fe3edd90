"""minLSTM: an LSTM without output gate and second state, whose gates read the input alone."""

from functools import lru_cache, partial

import jax
from flax import nnx
from jax import Array
from jax import numpy as jnp
from jax.typing import DTypeLike

from rnnlab.cells.linear import CANDIDATES, LinearCell, into_range
from rnnlab.scan.affine import CoefficientFn


def minlstm_gates(
    forget: Array,
    input: Array,
    candidate: Array,
    *,
    activation: str = "positive",
    gate_range: tuple[int, int] = (0, 1),
    normalize: bool = True,
) -> tuple[Array, Array]:
    """Coefficients of `h = a h + b` from the pre-activations of both gates and the candidate.

        f = sigmoid(forget),  i = sigmoid(input),  a = f / (f + i),  b = i / (f + i) * g(candidate)

    Without `normalize`: a = f, b = i * g(candidate).
    """
    a, i = _shares(forget, input) if normalize else (jax.nn.sigmoid(forget), jax.nn.sigmoid(input))
    return into_range(a, gate_range), i * CANDIDATES[activation](candidate)


@jax.custom_jvp
def _shares(forget: Array, input: Array) -> tuple[Array, Array]:
    """f / (f + i) and i / (f + i) without the 0/0 of two closed gates.

    With u = exp(-forget) and v = exp(-input) they are (1 + v) and (1 + u) over 2 + u + v: two
    exponentials, where the paper's form through softplus takes four and two logarithms.
    """
    u, v, scale = _scaled_exponentials(forget, input)
    return (1 + v) * scale, (1 + u) * scale


@_shares.defjvp
def _shares_jvp(primals, tangents):
    # d log(a / b) = (1 - f) dforget - (1 - i) dinput with 1 - f = u / (1 + u), 1 - i = v / (1 + v).
    u, v, scale = _scaled_exponentials(*primals)
    a, b = (1 + v) * scale, (1 + u) * scale
    da = a * (u * scale) * tangents[0] - b * (v * scale) * tangents[1]
    return (a, b), (da, -da)


def _scaled_exponentials(forget: Array, input: Array) -> tuple[Array, Array, Array]:
    """u, v and 1 / (2 + u + v), u and v without what both exceed exp(40) by.

    Beside exp(40) the ones are nothing, so that a common factor of u and v cancels. One of them
    alone stops at exp(87), near the end of float32: its own share is then 1 to all digits.
    """
    common = jnp.maximum(jnp.minimum(-forget, -input) - 40, 0)
    u = jnp.exp(jnp.minimum(-forget - common, 87))
    v = jnp.exp(jnp.minimum(-input - common, 87))
    return u, v, 1 / (2 + u + v)


class MinLSTM(LinearCell):
    """minLSTM. Trains in parallel over time; holds one state of `features` numbers when it streams.

        f[t] = sigmoid(x[t] Wf + bf),  i[t] = sigmoid(x[t] Wi + bi)
        c[t] = g(x[t] Wc + bc)
        h[t] = f / (f + i) h[t-1] + i / (f + i) c[t],   y[t] = h[t]

    Args:
      in_features, features: width of the input and of the state.
      rngs: source of the parameters' keys.
      candidate: g, one of `"positive"` (the paper's, default), `"identity"`, `"tanh"`.
      gate_range: (0, 1), or (-1, 1) for a decay of `2 a - 1`.
      normalize: divides both gates by their sum. The paper does, its released settings do not.
      forget_bias: added to the initial bias of the forget gate. The paper's ablation trains faster
        with it raised; its released configurations have 3.
      carry_init: None starts from zeros. An initialiser makes the initial state a parameter.
      kernel_init, bias_init: initialisers of each projection.
      dtype: dtype of the projections and of `ys`; None is `param_dtype`. Gates and carry are
        float32 (float64 where dtype is), so that cutting a sequence never changes it.
      param_dtype: dtype of the parameters.
      backend: the scan's; see `rnnlab.linear_scan`.

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
        candidate: str = "positive",
        gate_range: tuple[int, int] = (0, 1),
        normalize: bool = True,
        forget_bias: float = 0.0,
        carry_init: nnx.Initializer | None = None,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        bias_init: nnx.Initializer = nnx.initializers.zeros_init(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        backend: str = "auto",
    ):
        super().__init__(
            in_features,
            features,
            candidate=candidate,
            gate_range=gate_range,
            carry_init=carry_init,
            kernel_init=kernel_init,
            bias_init=bias_init,
            dtype=dtype,
            param_dtype=param_dtype,
            backend=backend,
            rngs=rngs,
        )
        self.normalize = normalize
        self.forget_bias[...] += forget_bias

    @property
    def gates(self) -> CoefficientFn:
        return _gates(self.candidate, self.gate_range, self.normalize)


@lru_cache  # one object an option, so that equal cells share one compiled scan
def _gates(activation: str, gate_range: tuple[int, int], normalize: bool) -> CoefficientFn:
    return partial(minlstm_gates, activation=activation, gate_range=gate_range, normalize=normalize)
