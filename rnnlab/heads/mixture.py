"""Mixtures of bivariate normal distributions of pen movements, with the state of the pen."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Key

from rnnlab.heads.base import mean_over
from rnnlab.validation import require_positive_int

MAX_LOG_SCALE = 7.0
"""Bound of the logarithm of a scale, which is approached smoothly: scales are from e^-7 to e^7."""

MAX_CORRELATION = 0.999
"""Bound of a correlation, at which a density is still finite."""

LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Mixture:
    """A mixture density of a movement (x, y), and probabilities of the states of the pen.

    A target is x, y and the number of the state of the pen after the movement. With two states they
    are those of Graves: the pen stays down, or is lifted. A third one is the end of a drawing. One
    component has 6 outputs: a logit, two means, two scales and a correlation.

    Attributes:
      components: number of normal distributions.
      pen_states: number of states of the pen, at least 2.

    Raises:
      ValueError: components is less than 1, or pen_states less than 2.

    Source: Graves, arXiv 1308.0850, equations 18 to 27; a softmax of 2 states is his logistic
    probability of the end of a stroke.

    >>> import jax.numpy as jnp
    >>> head = Mixture(components=2)
    >>> head.out_features, {name: x.shape for name, x in head.named(jnp.zeros(14)).items()}
    (14, {'weight': (2,), 'mean': (2, 2), 'scale': (2, 2), 'correlation': (2,), 'pen': (2,)})
    """

    components: int
    pen_states: int = 2

    def __post_init__(self):
        require_positive_int(components=self.components)
        if type(self.pen_states) is not int or self.pen_states < 2:
            raise ValueError(f"pen_states must be an int >= 2, got {self.pen_states}; raise it")

    @property
    def out_features(self) -> int:
        """Number of outputs per time step."""
        return 6 * self.components + self.pen_states

    def named(self, outputs: Float[Array, "*batch out_features"]) -> dict[str, Array]:
        """Returns the parameters of the mixture and the probabilities of the states of the pen.

        Returns:
          `weight` and `correlation` (*batch, components), `mean` and `scale` (*batch, components,
          2), `pen` (*batch, pen_states).
        """
        p = self._parameters(outputs)
        return {
            "weight": jnp.exp(p["log_weight"]),
            "mean": p["mean"],
            "scale": jnp.exp(p["log_scale"]),
            "correlation": p["correlation"],
            "pen": jnp.exp(p["log_pen"]),
        }

    def nats(
        self,
        outputs: Float[Array, "*batch out_features"],
        targets: Float[Array, "*batch 3"],
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Returns the negative log likelihoods of the movement and of the pen, in nats per point.

        Args:
          outputs: of a model.
          targets: x, y and the state of the pen; NaN in a point that is not scored, which has 0.
        """
        known = ~jnp.isnan(targets).any(-1)
        targets = jnp.where(known[..., None], targets, 0)
        p = self._parameters(outputs)
        z = (targets[..., None, :2] - p["mean"]) * jnp.exp(-p["log_scale"])
        zx, zy, correlation = z[..., 0], z[..., 1], p["correlation"]
        # 1 - correlation^2 without cancellation near 1.
        rest = (1 - correlation) * (1 + correlation)
        # (zx - rho zy)^2 + (1 - rho^2) zy^2 is the quadratic form as a sum of squares.
        square = jnp.square(zx - correlation * zy) / rest + jnp.square(zy)
        log_density = -LOG_TWO_PI - p["log_scale"].sum(-1) - 0.5 * (jnp.log(rest) + square)
        movement = -jax.nn.logsumexp(p["log_weight"] + log_density, axis=-1)
        state = targets[..., 2:].astype(jnp.int32)
        pen = -jnp.take_along_axis(p["log_pen"], state, axis=-1)[..., 0]
        return jnp.where(known, movement, 0), jnp.where(known, pen, 0)

    def loss(
        self,
        outputs: Float[Array, "*batch out_features"],
        targets: Float[Array, "*batch 3"],
        mask: Bool[Array, "*batch"] | None = None,
    ) -> Float[Array, ""]:
        """Returns the negative log likelihood of movement and pen in nats, a mean over points."""
        known = ~jnp.isnan(targets).any(-1)
        if mask is not None:
            known = known & mask
        # A point that does not count gets no gradient, whatever its outputs are.
        outputs = jnp.where(known[..., None], outputs, 0)
        movement, pen = self.nats(outputs, jnp.where(known[..., None], targets, jnp.nan))
        return mean_over(movement + pen, known)

    def sample(
        self,
        outputs: Float[Array, "*batch out_features"],
        key: Key[Array, ""],
        temperature: float | Array = 1.0,
    ) -> Float[Array, "*batch 3"]:
        """Returns a movement and a state of the pen for each time step: x, y and the state.

        Args:
          outputs: of a model.
          key: of the samples.
          temperature: divides the logits of the components and of the pen, and multiplies the
            variances; 0 takes the mean of the component with the greatest weight, and the most
            likely state.

        Source: Ha and Eck, arXiv 1704.03477, section 3.2, for the temperature.

        >>> import jax, jax.numpy as jnp
        >>> Mixture(2).sample(jnp.zeros(14), jax.random.key(0), temperature=0.0).tolist()
        [0.0, 0.0, 0.0]
        """
        p = self._parameters(outputs)
        component_key, movement_key, pen_key = jax.random.split(key, 3)
        component = _sample_class(p["log_weight"], component_key, temperature)[..., None]

        def chosen(x: Array) -> Array:
            index = component if x.ndim == component.ndim else component[..., None]
            return jnp.take_along_axis(x, index, axis=component.ndim - 1).squeeze(
                component.ndim - 1
            )

        mean, scale = chosen(p["mean"]), jnp.exp(chosen(p["log_scale"]))
        correlation = chosen(p["correlation"])
        normal = jax.random.normal(movement_key, mean.shape, mean.dtype)
        rest = jnp.sqrt((1 - correlation) * (1 + correlation))
        second = correlation * normal[..., 0] + rest * normal[..., 1]
        standard = jnp.stack([normal[..., 0], second], axis=-1)
        movement = mean + jnp.sqrt(jnp.asarray(temperature, mean.dtype)) * scale * standard
        pen = _sample_class(p["log_pen"], pen_key, temperature)
        return jnp.concatenate([movement, pen[..., None].astype(movement.dtype)], axis=-1)

    def quantiles(self, outputs: np.ndarray, levels: Sequence[float]) -> np.ndarray:
        """Raises ValueError: a distribution of movements in the plane has no quantiles."""
        raise ValueError(
            "quantiles must be of single values, and Mixture has movements in the plane; draw from "
            "it by Mixture.sample"
        )

    def _parameters(self, outputs: Array) -> dict[str, Array]:
        """Logarithms of weights, scales and pen probabilities; means; bounded correlations."""
        count = self.components
        logits, flat_mean, flat_scale, flat_correlation, pen = jnp.split(
            outputs, [count, 3 * count, 5 * count, 6 * count], axis=-1
        )
        pairs = (*outputs.shape[:-1], count, 2)
        return {
            "log_weight": jax.nn.log_softmax(logits, axis=-1),
            "mean": flat_mean.reshape(pairs),
            "log_scale": MAX_LOG_SCALE * jnp.tanh(flat_scale.reshape(pairs) / MAX_LOG_SCALE),
            "correlation": MAX_CORRELATION * jnp.tanh(flat_correlation),
            "log_pen": jax.nn.log_softmax(pen, axis=-1),
        }


def _sample_class(logits: Array, key: Array, temperature: float | Array) -> Array:
    """A class of each example, the most likely one at temperature 0."""
    temperature = jnp.asarray(temperature, logits.dtype)
    drawn = jax.random.categorical(key, logits / jnp.where(temperature > 0, temperature, 1))
    return jnp.where(temperature > 0, drawn, jnp.argmax(logits, axis=-1))
