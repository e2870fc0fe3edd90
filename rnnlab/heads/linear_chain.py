"""A linear-chain conditional random field over the tags of a sequence."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from rnnlab.heads.base import mean_over
from rnnlab.losses.linear_chain import marginals, negative_log_likelihood, viterbi
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class LinearChain:
    """A linear-chain CRF: outputs are the scores of all pairs of neighboring tags.

    Output `p * num_tags + q` scores tag q after tag p. The bias of a model's head is then the
    matrix of transitions, and what the model adds to it may depend on the input. The tag before a
    sequence is tag 0.

    Attributes:
      num_tags: number of tags.
      forbidden: pairs of tags (previous, next) that decoding never returns.
      constrained_training: whether the forbidden pairs have probability 0 in the loss, too.
        Otherwise the model learns to avoid them.

    Raises:
      ValueError: num_tags is less than 1, or a pair has another tag.

    Source: Ma and Hovy, arXiv 1603.01354, section 2.3.

    >>> import jax.numpy as jnp
    >>> head = LinearChain(2, forbidden=((0, 1),))
    >>> head.decode(np.array([[9.0, 99.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])).tolist()
    [0, 0]
    """

    num_tags: int
    forbidden: tuple[tuple[int, int], ...] = ()
    constrained_training: bool = False

    def __post_init__(self):
        require_positive_int(num_tags=self.num_tags)
        for pair in self.forbidden:
            if not all(0 <= tag < self.num_tags for tag in pair):
                raise ValueError(
                    f"forbidden must be pairs of tags in [0, {self.num_tags}), got {pair}; "
                    "correct it"
                )

    @property
    def out_features(self) -> int:
        """Number of outputs per time step."""
        return self.num_tags**2

    def named(self, outputs: Float[Array, "*batch out_features"]) -> dict[str, Array]:
        """Returns `pair_scores`, of shape (*batch, previous tag, tag)."""
        return {"pair_scores": outputs.reshape(*outputs.shape[:-1], self.num_tags, self.num_tags)}

    def loss(
        self,
        outputs: Float[Array, "*batch time out_features"],
        targets: Int[Array, "*batch time"],
        mask: Bool[Array, "*batch time"] | None = None,
        reset: Bool[Array, "*batch time"] | None = None,
    ) -> Float[Array, ""]:
        """Returns the negative log likelihood of the tags in nats, per time step that has one."""
        scores = self._scores(outputs, self.constrained_training)
        nats = negative_log_likelihood(scores, targets, mask=mask, reset=reset)
        return mean_over(nats, self.counted(targets, mask))

    def counted(
        self, targets: Int[Array, "*batch time"], mask: Bool[Array, "*batch time"] | None = None
    ) -> Bool[Array, "*batch time"]:
        """Returns which time steps the loss divides by: those whose tag is known."""
        return targets >= 0 if mask is None else (targets >= 0) & mask

    def decode(
        self,
        outputs: Float[np.ndarray, "*batch time out_features"],
        mask: Bool[np.ndarray, "*batch time"] | None = None,
        reset: Bool[np.ndarray, "*batch time"] | None = None,
    ) -> Int[np.ndarray, "*batch time"]:
        """Returns the most likely tags without a forbidden pair, on the host; -1 in padding."""
        scores = np.asarray(self._scores(outputs, True), np.float64)
        return viterbi(scores, mask=mask, reset=reset)

    def probabilities(
        self,
        outputs: Float[Array, "*batch time out_features"],
        mask: Bool[Array, "*batch time"] | None = None,
        reset: Bool[Array, "*batch time"] | None = None,
    ) -> Float[Array, "*batch time tags"]:
        """Returns the probability of each tag, given that no pair is forbidden; 0 in padding."""
        return marginals(self._scores(jnp.asarray(outputs), True), mask=mask, reset=reset)

    def _scores(self, outputs: Array, is_constrained: bool) -> Array:
        """The scores of pairs, -inf where a pair is forbidden."""
        scores = self.named(outputs)["pair_scores"]
        if not (is_constrained and self.forbidden):
            return scores
        is_forbidden = np.zeros((self.num_tags, self.num_tags), bool)
        is_forbidden[tuple(np.array(self.forbidden).T)] = True
        array = np if isinstance(scores, np.ndarray) else jnp
        return array.where(array.broadcast_to(is_forbidden, scores.shape), -np.inf, scores)
