"""`rnnlab sample`: text from a trained model."""

import jax
import numpy as np

from rnnlab.cli.commands import Sample
from rnnlab.models.generate import generate
from rnnlab.runs.api import load_trained_model
from rnnlab.tasks.text import decode, encode

LONGEST = 1_000_000
"""The most symbols that are written at once."""


def sample(command: Sample) -> int:
    """Prints the prompt and its continuation. Returns the exit code.

    Raises:
      DataError: the prompt has a symbol that the run's text has not.
      ValueError: the run is none of text, or an option is out of range.
    """
    if not 1 <= command.length <= LONGEST:
        raise ValueError(f"length is {command.length}; a number from 1 to {LONGEST:,} is needed")
    if not 0 <= command.seed < 2**32:
        raise ValueError(f"seed is {command.seed}; a number from 0 to {2**32 - 1} is needed")
    model, data = load_trained_model(command.folder, strict=command.strict)
    if not data.vocabulary:
        raise ValueError(f"{command.folder} is no run of text; sample needs one")
    prompt = encode(command.prompt, data.vocabulary)
    tokens = generate(
        model,
        jax.numpy.asarray(prompt, jax.numpy.int32),
        command.length,
        jax.random.key(command.seed),
        temperature=command.temperature,
        top_k=command.top_k,
    )
    print(command.prompt + decode(np.asarray(tokens), data.vocabulary))
    return 0
