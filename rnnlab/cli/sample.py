"""`rnnlab sample`: text from a trained model."""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from tyro.conf import Positional

from rnnlab.models.generate import generate
from rnnlab.runs.api import load_trained_model
from rnnlab.tasks.text import decode, encode

LONGEST = 1_000_000
"""The most symbols that are written at once."""


@dataclass(frozen=True)
class Sample:
    """Writes text with the model of a trained run, from the parameters of its best step."""

    folder: Positional[Path]
    """The run's folder."""
    prompt: str = "The "
    """What the text begins with."""
    length: int = 500
    """Symbols to write."""
    temperature: float = 0.8
    """Divides the logits; 0 always takes the likeliest symbol."""
    top_k: int | None = None
    """Draws from the k likeliest symbols alone."""
    seed: int = 0
    """Of the draws."""
    strict: bool = False
    """Refuses a damaged checkpoint instead of taking the newest sound one."""


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
