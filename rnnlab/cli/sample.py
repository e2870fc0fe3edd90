"""`rnnlab sample`: generate text or drawings with a trained model."""

import jax
import numpy as np

from rnnlab.cli.commands import Sample
from rnnlab.cli.sample_sketches import sample_sketches
from rnnlab.loading import load_trained
from rnnlab.models.generate import generate
from rnnlab.tasks.sketch_preparation import SketchPreparation
from rnnlab.tasks.text_preparation import TextPreparation

MAX_SAMPLE_LENGTH = 1_000_000


def sample(command: Sample) -> int:
    """Prints the prompt and its continuation, or writes a picture of drawings.

    Returns the exit code.

    Raises:
      DataError: the prompt has a symbol that the run's text does not have.
      ValueError: the run is not on text, or an option is out of range.
    """
    if not 1 <= command.length <= MAX_SAMPLE_LENGTH:
        raise ValueError(f"length must be in 1 to {MAX_SAMPLE_LENGTH:,}, got {command.length}")
    if not 0 <= command.seed < 2**32:
        raise ValueError(f"seed must be in 0 to {2**32 - 1}, got {command.seed}")
    trained = load_trained(command.folder, strict=command.strict)
    model, data = trained.model, trained.data
    text = data.preparation
    if isinstance(text, SketchPreparation):
        return sample_sketches(command, trained, text)
    if not isinstance(text, TextPreparation):
        if not data.vocabulary:
            raise ValueError(f"{command.folder} is not a run on text or drawings; name one that is")
        text = TextPreparation(data.vocabulary, window=1, batch_size=1)
    prompt = text.encode(command.prompt)
    tokens = generate(
        model,
        jax.numpy.asarray(prompt, jax.numpy.int32),
        command.length,
        jax.random.key(command.seed),
        temperature=command.temperature,
        top_k=command.top_k,
    )
    print(text.decode(np.concatenate([prompt, tokens])))
    return 0
