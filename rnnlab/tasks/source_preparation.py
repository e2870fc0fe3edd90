"""The contract of preparations of texts from which a model generates other texts."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from rnnlab.tasks.decoding import Decoding
from rnnlab.tasks.sequence_pairs import PairForm


@runtime_checkable
class SourcePreparation(Protocol):
    """The vocabularies of sources and targets, such as words and their phones.

    Attributes:
      form: of the batches.
      decoding: settings of the decoder; None where targets follow from the outputs of the model.
    """

    form: PairForm
    decoding: Decoding | None

    def encode_source(self, text: str) -> np.ndarray:
        """Returns the token ids of a source, (source_time,) of int32.

        Raises:
          DataError: it is empty, or has a symbol that the training lacks.
        """

    def source_symbols(self, ids: np.ndarray) -> Sequence[str]:
        """Returns the symbol of each token id of a source."""

    def target_symbols(self, labels: np.ndarray) -> Sequence[str]:
        """Returns the symbol of each label of a target, of the end too."""

    def target_text(self, labels: np.ndarray) -> str:
        """Returns the text of the labels of a target, without those after its end."""
