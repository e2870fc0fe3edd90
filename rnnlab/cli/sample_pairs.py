"""Targets that follow from the outputs of a model, as those of CTC, for `rnnlab sample`."""

from rnnlab.cli.commands import Sample
from rnnlab.runs.trained_model import TrainedModel


def print_decoded(command: Sample, trained: TrainedModel) -> int:
    """Prints each word of the prompt, or of the file of prompts, and its decoded phones.

    Returns the exit code.

    Raises:
      DataError: a word has a letter that the training lacks, or there is no word.
      ValueError: an option is only of other models.
    """
    if command.beam is not None or command.perplexity is not None:
        raise ValueError(
            f"beam and perplexity must be None for {command.folder}, whose model has no decoder, "
            f"got {command.beam} and {command.perplexity}; remove them"
        )
    source = command.prompt if command.prompts is None else command.prompts
    columns = trained.predict(source).columns
    for word, predicted in zip(columns["word"], columns["predicted"], strict=True):
        print(f"{word}: {predicted}")
    return 0
