"""Named entities: a tag for every word, from the word and its characters."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from rnnlab.datasets import dataset_files
from rnnlab.heads import LinearChain
from rnnlab.tasks.batch import Batch, arrays
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.batching.strategies import training_batches
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.entity_preparation import (
    UNKNOWN,
    EntityPreparation,
    prepare_entities,
    word_counts,
    word_pairs,
)
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.iob2 import Sentence, read_iob2
from rnnlab.tasks.reference.entity_scores import SCORES, baseline_scores
from rnnlab.tasks.splits import stratified
from rnnlab.tasks.tag_schemes import OUTSIDE, forbidden_pairs
from rnnlab.validation import require_one_of, require_positive_int

Output = Literal["linear_chain", "softmax"]
Constraints = Literal["none", "decoding", "training"]


@dataclass(frozen=True)
class Entities:
    """Find the named entities of sentences: predict a tag of the scheme IOB2 for every word.

    The default data are the Danish sentences of Universal NER with its official parts: 4,383 to
    train on, 564 to validate on and 565 to test on; types are PER, ORG and LOC. A time step is a
    word, by its id in lower case and by its characters, so that words that the training part lacks
    are known by their characters.

    The score is the F1 of entities, which counts an entity as right if its type and both of its
    ends are, as seqeval does in its strict mode. Baselines are the tag O, the most common tag of
    each word, and, if sklearn-crfsuite is installed, a CRF on features of words.

    Attributes:
      path: a file with one word and its tag per line (IOB2, CoNLL); or the folder of the data set
        `uner-danish`; None is that of `rnnlab data`.
      valid_path, test_path: files of the same kind to validate and to test on, for a file; None
        takes a fraction of `path`.
      valid, test: fractions of the sentences in the parts that are no files.
      batch_size: sentences per batch.
      output: `"linear_chain"` is a CRF over the tags of a sentence; `"softmax"` predicts each tag
        on its own.
      constraints: where pairs of tags that IOB2 does not allow are excluded: `"none"`, in
        `"decoding"` only, or in `"training"` too, which needs a linear chain.
      word_length: characters of a word that are read.
      word_dropout: a word that occurs n times in the training part is replaced by the unknown word
        with probability `word_dropout / (word_dropout + n)`, which trains its characters.

    Raises:
      ValueError: a setting is out of range.
      DataError: a file is missing or not readable.

    Source: Mayhew et al., arXiv 2311.09122, for the data; Kiperwasser and Goldberg, arXiv
    1603.04351, section 4, for the dropout of words.

    >>> Entities(batch_size=16).output
    'linear_chain'
    """

    path: Path | None = None
    valid_path: Path | None = None
    test_path: Path | None = None
    valid: float = 0.1
    test: float = 0.1
    batch_size: int = 32
    output: Output = "linear_chain"
    constraints: Constraints = "decoding"
    word_length: int = 20
    word_dropout: float = 0.5

    def __post_init__(self):
        require_positive_int(batch_size=self.batch_size, word_length=self.word_length)
        require_one_of("output", self.output, get_args(Output))
        require_one_of("constraints", self.constraints, get_args(Constraints))
        if self.constraints == "training" and self.output != "linear_chain":
            raise ValueError(
                f"constraints must be 'decoding' or 'none' for output {self.output!r}, whose "
                "training has no pairs of tags, got 'training'; change one of them"
            )
        if not 0 <= self.word_dropout < float("inf"):
            raise ValueError(
                f"word_dropout must be finite and >= 0, got {self.word_dropout}; pass 0.5"
            )
        if (self.valid_path or self.test_path) and _is_data_set(self.path):
            raise ValueError(
                "valid_path and test_path must be used with a file as path, got "
                f"{'no path' if self.path is None else 'a folder'}; give a file"
            )

    def load(self, seed: int) -> TaskData:
        """Reads the sentences. `seed` orders the training batches and draws the dropout."""
        parts = _read(self)
        train = parts["train"]
        preparation = prepare_entities(
            train,
            word_length=self.word_length,
            batch_size=self.batch_size,
            chain=self._chain,
            has_pair_scores=self.output == "linear_chain",
        )
        _require_known_tags(self, preparation, parts)
        # The numbers of the test sentences follow those of the validation sentences.
        evaluated = (*parts["valid"], *parts["test"])
        first = {"valid": 0, "test": len(parts["valid"])}
        sets = {
            name: _numbered(preparation.encode(parts[name]), start) for name, start in first.items()
        }
        dataset = preparation.encode(train)
        take = training_batches(dataset, "bucket", self.batch_size, seed)
        digest = fingerprint(
            *(x for part in (dataset, *sets.values()) for x in arrays(part)),
            " ".join(preparation.tags),
        )
        is_chain = self.output == "linear_chain"
        return TaskData(
            loss=preparation.chain if is_chain else "categorical",
            metrics=tuple(SCORES),
            out_features=len(preparation.tags) ** (2 if is_chain else 1),
            train_batch=self._with_word_dropout(take, word_counts(preparation, train), seed),
            eval_sets={
                name: functools.partial(split_batches, part, min(self.batch_size, len(part.inputs)))
                for name, part in sets.items()
            },
            baselines=functools.partial(_baselines, self, digest),
            in_features=dataset.inputs.shape[-1],
            word_sizes=preparation.sizes,
            classes=preparation.tags,
            decode=functools.partial(word_pairs, preparation, evaluated),
            fingerprint=digest,
            preparation=dataclasses.replace(preparation, test=lambda: parts["test"]),
            notes=(_describe(parts, preparation),),
        )

    def _chain(self, tags: tuple[str, ...]) -> LinearChain:
        forbidden = () if self.constraints == "none" else forbidden_pairs(tags)
        return LinearChain(len(tags), forbidden, self.constraints == "training")

    def _with_word_dropout(
        self, train_batch: Callable[[int], Batch], counts: np.ndarray, seed: int
    ) -> Callable[[int], Batch]:
        rate = self.word_dropout / (self.word_dropout + np.maximum(counts, 1))

        def take(n: int) -> Batch:
            batch = train_batch(n)
            words = batch.inputs[..., 0]
            drawn = rng_for(RngStream.AUGMENT, seed, n).random(words.shape)
            inputs = batch.inputs.copy()
            inputs[..., 0] = np.where(drawn < rate[words], UNKNOWN, words)
            return batch._replace(inputs=inputs)

        return take if self.word_dropout else train_batch


@functools.lru_cache(maxsize=2)
def _read(task: Entities) -> Mapping[str, Sequence[Sentence]]:
    """The sentences of each part."""
    if _is_data_set(task.path):
        files = dataset_files("uner-danish", task.path)
        named = {"train": "train", "valid": "dev", "test": "test"}
        return {part: read_iob2(files[f"da_ddt-ud-{name}.iob2"]) for part, name in named.items()}
    sentences = read_iob2(task.path)
    given = {"valid": task.valid_path, "test": task.test_path}
    shares = {"valid": task.valid, "test": task.test}
    missing = [name for name, path in given.items() if path is None]
    # Each part gets its share of the sentences with an entity.
    has_entity = np.array([set(x.tags) != {OUTSIDE} for x in sentences]).astype(int)
    train, *rest = stratified(has_entity, [shares[name] for name in missing])
    parts = {"train": [sentences[k] for k in train]}
    for name, rows in zip(missing, rest, strict=True):
        parts[name] = [sentences[k] for k in rows]
    for name, path in given.items():
        if path is not None:
            parts[name] = read_iob2(path)
    for name, part in parts.items():
        if not part:
            raise data_error(
                task.path, f"must have a sentence in the part {name!r}, got none; add sentences"
            )
    return parts


def _is_data_set(path: Path | str | None) -> bool:
    """Whether a path is the folder of the default data, not a file."""
    return path is None or Path(path).is_dir()


def _require_known_tags(
    task: Entities, preparation: EntityPreparation, parts: Mapping[str, Sequence[Sentence]]
) -> None:
    if len(preparation.tags) < 2:
        raise data_error(task.path, "must have an entity to train on, got only O; tag some words")
    for name in ("valid", "test"):
        found = {tag for x in parts[name] for tag in x.tags} - set(preparation.tags)
        # An I- tag may be absent from a small training part; a type may not.
        if unknown := {tag[2:] for tag in found} - {tag[2:] for tag in preparation.tags}:
            raise data_error(
                task.path,
                f"must have the types of entities of the part {name!r} in the training part, too, "
                f"got none of {min(unknown)!r}; tag some or remove them",
            )


def _numbered(batch: Batch, start: int) -> Batch:
    return batch._replace(example=batch.example + np.int32(start))


@functools.lru_cache(maxsize=2)
def _baselines(task: Entities, digest: str) -> Mapping[str, Mapping[str, float]]:
    """The scores of taggers without a recurrent model, fitted once for all runs of a grid."""
    del digest
    parts = _read(task)
    words, tags = zip(*parts["train"], strict=True)
    tested, references = zip(*parts["test"], strict=True)
    return baseline_scores(words, tags, tested, references)


def _describe(parts: Mapping[str, Sequence[Sentence]], preparation: EntityPreparation) -> str:
    counts = {name: len(part) for name, part in parts.items()}
    known = set(preparation.words)
    tested = [word.lower() for x in parts["test"] for word in x.words]
    unknown = sum(word not in known for word in tested) / len(tested)
    return (
        f"{counts['train']:,} sentences to train on, {counts['valid']:,} to validate on, "
        f"{counts['test']:,} to test on; {len(preparation.words):,} words; {unknown:.1%} of the "
        f"words of the test part are unknown; tags {', '.join(preparation.tags)}."
    )
