"""`rnnlab sample`: generate text or drawings, or measure how well a model predicts a text."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from rnnlab.cli.commands import Sample
from rnnlab.cli.sample_pairs import print_decoded
from rnnlab.cli.sample_sketches import sample_sketches
from rnnlab.cli.sample_sources import sample_sources
from rnnlab.cli.text_stream import TextStream
from rnnlab.errors import DataError
from rnnlab.loading import load_trained
from rnnlab.models import SequenceModel
from rnnlab.models.generate import generate_chunks
from rnnlab.models.perplexity import likelihood
from rnnlab.tasks.batching.padding import pad
from rnnlab.tasks.readers.text import read_text
from rnnlab.tasks.sketch_preparation import SketchPreparation
from rnnlab.tasks.source_preparation import SourcePreparation
from rnnlab.tasks.text_preparation import TextPreparation

MAX_SAMPLE_LENGTH = 1_000_000


def sample(command: Sample) -> int:
    """Prints the prompt and its continuation as it is generated, or writes a picture of drawings.

    A prompt of a model that generates from a source is the source, and all hypotheses are printed.
    Several prompts are continued as one batch, and each text is printed when all are complete.
    Returns the exit code.

    Raises:
      DataError: the prompt has a symbol that the run's text does not have, or a file has no text.
      ValueError: the run is not on text, or an option is out of range.
    """
    if not 1 <= command.length <= MAX_SAMPLE_LENGTH:
        raise ValueError(f"length must be in 1 to {MAX_SAMPLE_LENGTH:,}, got {command.length}")
    if not 0 <= command.seed < 2**32:
        raise ValueError(f"seed must be in 0 to {2**32 - 1}, got {command.seed}")
    trained = load_trained(command.folder, strict=command.strict)
    text = trained.data.preparation
    if isinstance(text, SourcePreparation) and text.decoding is None:
        return print_decoded(command, trained)
    if isinstance(text, SourcePreparation):
        sources = [command.prompt] if command.prompts is None else _read_prompts(command.prompts)
        return sample_sources(command, trained, text, sources)
    if command.beam is not None:
        raise ValueError(
            f"beam must be None for {command.folder}, whose model generates from no source, got "
            f"{command.beam}; remove --beam"
        )
    if isinstance(text, SketchPreparation):
        return sample_sketches(command, trained, text)
    if not isinstance(text, TextPreparation):
        if not trained.data.vocabulary:
            raise ValueError(f"{command.folder} is not a run on text or drawings; name one that is")
        text = TextPreparation(trained.data.vocabulary, window=1, batch_size=1)
    if command.perplexity is not None:
        print(_perplexity(trained.model, text, command.perplexity))
        return 0
    if command.prompts is None:
        _print_one(command, trained.model, text)
    else:
        _print_all(command, trained.model, text, _read_prompts(command.prompts))
    return 0


def _print_one(command: Sample, model: SequenceModel, text: TextPreparation) -> None:
    """Prints a text while it is generated."""
    prompt = text.encode(command.prompt)
    parts = generate_chunks(model, prompt, command.length, **_options(command))
    stream = TextStream(text)
    print(stream.feed(prompt.tolist()), end="", flush=True)
    for tokens in parts:
        print(stream.feed(np.asarray(tokens).tolist()), end="", flush=True)
    print(stream.finish(), flush=True)


def _print_all(
    command: Sample, model: SequenceModel, text: TextPreparation, prompts: Sequence[str]
) -> None:
    """Prints the continuations of several prompts, which are one batch."""
    encoded = [text.encode(prompt) for prompt in prompts]
    if not all(map(len, encoded)):
        raise ValueError("prompts must have at least one symbol each, got an empty one; remove it")
    padded, mask = pad(encoded)
    parts = generate_chunks(model, padded, command.length, mask=mask, **_options(command))
    tokens = np.concatenate([np.asarray(part) for part in parts], axis=-1)
    for number, (prompt, row) in enumerate(zip(encoded, tokens, strict=True), 1):
        print(f"--- {number} of {len(encoded)} ---")
        print(text.decode(np.concatenate([prompt, row])), flush=True)


def _options(command: Sample) -> dict[str, object]:
    return {
        "key": jax.random.key(command.seed),
        "temperature": command.temperature,
        "top_k": command.top_k,
        "top_p": command.top_p,
    }


def _read_prompts(path: Path) -> list[str]:
    """The lines of a file that are not empty."""
    found = [line for line in read_text(path).split("\n") if line.strip()]
    if not found:
        raise DataError(f"{path} must have a prompt per line, got none; write one")
    return found


def _perplexity(model: SequenceModel, text: TextPreparation, source: str) -> str:
    """A sentence on how well a model predicts a file or a text."""
    content, ids = text.read(Path(source) if _is_file(source) else source)
    found = likelihood(model, ids)
    whole = content if isinstance(content, str) else content.decode(errors="replace")
    characters = max(len(whole) - len(text.decode(ids[:1])), 1)  # the first token is not predicted
    nats = found.nats / characters
    return (
        f"perplexity {found.perplexity:.4f} per token; {nats:.4f} nats "
        f"({nats / np.log(2):.4f} bits) per character; {found.tokens:,} tokens, "
        f"{characters:,} characters"
    )


def _is_file(source: str) -> bool:
    """Whether a source is the name of a file.

    Raises:
      DataError: it looks like one, and there is no such file.
    """
    try:
        path = Path(source)
        if path.exists():
            return True
    except (OSError, ValueError):  # too long, or with a NUL
        return False
    looks_like_one = path.suffix and not any(map(str.isspace, source))
    if looks_like_one:
        raise DataError(
            f"--perplexity must be a text or an existing file, got {source!r}; correct the path, "
            "or add a space to a text"
        )
    return False
