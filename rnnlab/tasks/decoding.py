"""The settings of the decoder that generates label sequences in an evaluation."""

from dataclasses import dataclass

from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class Decoding:
    """Settings of the decoder of a model that generates label sequences step by step.

    Attributes:
      max_length: greatest number of labels of a sequence, without the end.
      begin: token that the decoder reads first; None where the model has none, as a transducer.
      end: label that ends a sequence; None where the model has none.
      beam: number of hypotheses that are kept per example; 1 is greedy decoding.
      length_penalty: exponent of the length normalization. Hypotheses are ranked by their log
        probability divided by their length to this power; 0 ranks them by the log probability.

    Raises:
      ValueError: a setting is out of range.

    >>> Decoding(max_length=20, begin=1, end=2, beam=4).length_penalty
    0.0
    """

    max_length: int
    begin: int | None = None
    end: int | None = None
    beam: int = 1
    length_penalty: float = 0.0

    def __post_init__(self) -> None:
        require_positive_int(max_length=self.max_length, beam=self.beam)
        for name in ("begin", "end"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or value < 0):
                raise ValueError(f"{name} must be a token id >= 0 or None, got {value}; correct it")
        if not 0 <= self.length_penalty < float("inf"):
            raise ValueError(
                f"length_penalty must be finite and >= 0, got {self.length_penalty}; pass 0.6"
            )
