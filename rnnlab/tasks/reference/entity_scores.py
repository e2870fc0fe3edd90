"""Scores of named entities, and tagging without a recurrent model."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from rnnlab.optional import require_module
from rnnlab.tasks.tag_schemes import OUTSIDE, find_entities

Tags = Sequence[Sequence[str]]
"""The tags of each sentence."""


def entity_precision(predictions: Tags, references: Tags) -> float:
    """Returns the share of the predicted entities that are right; 0 without any.

    An entity is right if its type and both of its ends are.

    >>> entity_precision([["B-PER", "O"]], [["B-PER", "I-PER"]])
    0.0
    """
    right, predicted, _ = _counts(predictions, references)
    return right / max(predicted, 1)


def entity_recall(predictions: Tags, references: Tags) -> float:
    """Returns the share of the entities that are found; 0 without any.

    >>> entity_recall([["B-PER", "O", "O"]], [["B-PER", "O", "B-LOC"]])
    0.5
    """
    right, _, actual = _counts(predictions, references)
    return right / max(actual, 1)


def entity_f1(predictions: Tags, references: Tags) -> float:
    """Returns the harmonic mean of precision and recall over all entities, as seqeval does.

    It is the micro average of seqeval with `mode="strict"` and `scheme=IOB2`.

    Source: Tjong Kim Sang and De Meulder, CoNLL-2003; Nakayama, github.com/chakki-works/seqeval.

    >>> entity_f1([["B-PER", "O", "O"]], [["B-PER", "O", "B-LOC"]])
    0.6666666666666666
    """
    right, predicted, actual = _counts(predictions, references)
    return 2 * right / max(predicted + actual, 1)


def tag_accuracy(predictions: Tags, references: Tags) -> float:
    """Returns the share of the words with the right tag, which is high where most are outside.

    >>> tag_accuracy([["O", "O"]], [["O", "B-LOC"]])
    0.5
    """
    pairs = [
        pair
        for both in zip(predictions, references, strict=True)
        for pair in zip(*both, strict=True)
    ]
    return sum(tag == actual for tag, actual in pairs) / max(len(pairs), 1)


SCORES = {
    "entity_f1": entity_f1,
    "entity_precision": entity_precision,
    "entity_recall": entity_recall,
    "tag_accuracy": tag_accuracy,
}
"""Scores of (predicted tags, tags) of sentences by name. Higher is better."""


def baseline_scores(
    words: Sequence[Sequence[str]],
    tags: Tags,
    tested: Sequence[Sequence[str]],
    references: Tags,
) -> Mapping[str, Mapping[str, float]]:
    """Returns the scores of three taggers without a recurrent model.

    They are the tag O; the most common tag of each word in the training part, O for others; and, if
    sklearn-crfsuite is installed, a linear-chain CRF on `word_features`.

    Args:
      words, tags: of the training sentences.
      tested, references: words and tags of the sentences that are scored.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence, of in zip(words, tags, strict=True):
        for word, tag in zip(sentence, of, strict=True):
            counts[word][tag] += 1
    best = {word: count.most_common(1)[0][0] for word, count in counts.items()}
    found = {
        "all O": [[OUTSIDE] * len(x) for x in tested],
        "most common tag of the word": [[best.get(w, OUTSIDE) for w in x] for x in tested],
    }
    if find_spec("sklearn_crfsuite"):
        found["CRF, features of words"] = _crf_tags(words, tags, tested)
    return {
        name: {score: value(predicted, references) for score, value in SCORES.items()}
        for name, predicted in found.items()
    }


def word_features(words: Sequence[str], position: int) -> dict[str, str | bool]:
    """Returns the features of a word for a CRF: of itself and of the words next to it.

    >>> features = word_features(["Kjeld", "sover"], 0)
    >>> features["0:ending"], features["+1:lower"], features["first"]
    ('eld', 'sover', True)
    """
    features: dict[str, str | bool] = {"bias": True}
    for offset in (-1, 0, 1):
        k = position + offset
        if not 0 <= k < len(words):
            features["first" if offset < 0 else "last"] = True
            continue
        word, at = words[k], f"{offset:+d}:" if offset else "0:"
        features |= {
            f"{at}lower": word.lower(),
            f"{at}title": word.istitle(),
            f"{at}upper": word.isupper(),
        }
        if not offset:
            features |= {
                f"{at}ending": word[-3:],
                f"{at}short ending": word[-2:],
                f"{at}start": word[:3],
                f"{at}digit": word.isdigit(),
                f"{at}hyphen": "-" in word,
            }
    return features


def _crf_tags(words: Sequence[Sequence[str]], tags: Tags, tested: Sequence[Sequence[str]]) -> Tags:
    """The tags of sentences by a CRF with the settings of its documentation's example."""
    crf = require_module("sklearn_crfsuite", "sequences").CRF(
        algorithm="lbfgs", c1=0.1, c2=0.1, max_iterations=100, all_possible_transitions=True
    )
    crf.fit(_features(words), [list(x) for x in tags])
    return crf.predict(_features(tested))


def _features(sentences: Sequence[Sequence[str]]) -> list[list[dict[str, str | bool]]]:
    return [[word_features(words, k) for k in range(len(words))] for words in sentences]


def _counts(predictions: Tags, references: Tags) -> tuple[int, int, int]:
    """The numbers of right, of predicted and of actual entities."""
    right = predicted = actual = 0
    for tags, of in zip(predictions, references, strict=True):
        found, known = set(find_entities(tags)), set(find_entities(of))
        right += len(found & known)
        predicted, actual = predicted + len(found), actual + len(known)
    return right, predicted, actual
