"""The inputs and outputs of a model, which decide what its requests may be."""

from dataclasses import dataclass

import numpy as np

from rnnlab.errors import DataError
from rnnlab.models import SequenceModel
from rnnlab.serve.jobs import RequestError
from rnnlab.tasks.text_preparation import encode


@dataclass(frozen=True)
class Interface:
    """The inputs and outputs of a model.

    Attributes:
      vocab_size: number of token ids; None if inputs are values.
      in_features: values per time step; None if inputs are tokens.
      out_features: predictions per time step.
      uses_gaps: whether inputs have the time since the one before.
      vocabulary: the symbol of each token; empty where tokens are not text.
      classes: the name of each class; empty where classes have only numbers.
      generates: whether predictions are logits of the next token.
    """

    vocab_size: int | None
    in_features: int | None
    out_features: int
    uses_gaps: bool = False
    vocabulary: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    generates: bool = False

    @classmethod
    def of(
        cls,
        model: SequenceModel,
        vocabulary: tuple[str, ...] = (),
        classes: tuple[str, ...] = (),
        generates: bool | None = None,
    ) -> "Interface":
        """Returns the interface of a model; it generates if outputs fit inputs, unless given."""
        fits = model.vocab_size == model.out_features
        return cls(
            model.vocab_size,
            model.in_features,
            model.out_features,
            model.uses_gaps,
            tuple(vocabulary),
            tuple(classes),
            fits if generates is None else fits and generates,
        )

    def encode(self, text: str, field: str) -> np.ndarray:
        """Returns the tokens of a text.

        Raises:
          RequestError: the text has a symbol that the vocabulary lacks, or tokens are not text.
        """
        if not self.vocabulary:
            raise RequestError(
                422,
                f"{field} must be token ids, since the model has no vocabulary; send a list",
                field=field,
            )
        try:
            return encode(text, self.vocabulary)
        except (DataError, UnicodeEncodeError) as error:
            raise RequestError(422, f"{field}: {error}", field=field) from None
