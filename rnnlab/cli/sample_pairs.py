"""Decoded targets of prompts, for `rnnlab sample`."""

from rnnlab.cli.commands import Sample
from rnnlab.runs.trained_model import TrainedModel
from rnnlab.tasks.pronunciation_preparation import PronunciationPreparation
from rnnlab.tasks.translation_preparation import TranslationPreparation

DECODED = (PronunciationPreparation, TranslationPreparation)
"""Preparations of models that decode a target from a source."""


def print_decoded(command: Sample, trained: TrainedModel) -> int:
    """Prints each word or sentence of the prompt, or of the file of prompts, and its target.

    Returns the exit code.

    Raises:
      DataError: a word has a letter that the training lacks, or there is nothing to decode.
    """
    source = command.prompt if command.prompts is None else command.prompts
    columns = trained.predict(source).columns
    sources = columns["word"] if "word" in columns else columns["source"]
    for given, predicted in zip(sources, columns["predicted"], strict=True):
        print(f"{given}: {predicted}")
    return 0
