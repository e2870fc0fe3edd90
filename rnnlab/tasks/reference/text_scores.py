"""Error rates and translation scores of decoded texts, through jiwer, RapidFuzz and sacrebleu.

A prediction is a text; of a pronunciation, the tuple of its phones. Error rates are relative to the
length of the references, so that 0.1 is 10%. BLEU and chrF are between 0 and 100.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rnnlab.optional import require_module

EXTRA = "sequences"
"""The extra of rnnlab that installs the packages."""

Phones = tuple[str, ...]


class Pronunciations(NamedTuple):
    """The reference of a pronunciation.

    Attributes:
      choices: all pronunciations of the word, each of which is right.
      has_known_stem: whether the word is a word of the training part with an ending.
    """

    choices: tuple[Phones, ...]
    has_known_stem: bool = False


def wer(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Returns the word error rate: edits of words, relative to the words of the references.

    >>> wer(["the cat sat", ""], ["the cat sat down", "yes"])
    0.4
    """
    return float(require_module("jiwer", EXTRA).wer(list(references), list(predictions)))


def cer(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Returns the character error rate, in which a space is a character.

    >>> cer(["abd"], ["abcd"])
    0.25
    """
    return float(require_module("jiwer", EXTRA).cer(list(references), list(predictions)))


def phone_error(predictions: Sequence[Phones], references: Sequence[Pronunciations]) -> float:
    """Returns the phone error rate: edits of phones, relative to the phones of the references.

    The reference of a word is the pronunciation nearest to the prediction, of equally near ones the
    longest. NaN without words.

    >>> phone_error([("K", "AE", "D")], [Pronunciations((("K", "AE", "T", "S"), ("K", "AA", "D")))])
    0.3333333333333333
    """
    edits = length = 0
    for prediction, reference in zip(predictions, references, strict=True):
        distance, nearest = nearest_pronunciation(prediction, reference.choices)
        edits, length = edits + distance, length + len(nearest)
    return edits / length if length else float("nan")


def word_error(predictions: Sequence[Phones], references: Sequence[Pronunciations]) -> float:
    """Returns the share of words without a right prediction; NaN without any words.

    >>> word_error([("K",), ("B",)], [Pronunciations((("S",), ("K",))), Pronunciations((("P",),))])
    0.5
    """
    wrong = [x not in y.choices for x, y in zip(predictions, references, strict=True)]
    return sum(wrong) / len(wrong) if wrong else float("nan")


def nearest_pronunciation(prediction: Phones, choices: Sequence[Phones]) -> tuple[int, Phones]:
    """Returns the edit distance to the nearest of several pronunciations, and that one.

    >>> nearest_pronunciation(("K", "AE"), (("K",), ("AE", "T", "S"), ("K", "AE", "T")))
    (1, ('K', 'AE', 'T'))
    """
    distance = require_module("rapidfuzz.distance.Levenshtein", EXTRA).distance
    return min(
        ((distance(prediction, choice), choice) for choice in choices),
        key=lambda found: (found[0], -len(found[1])),
    )


def bleu(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> float:
    """Returns BLEU of a corpus of sentences that are not tokenized, with sacrebleu's defaults.

    Args:
      predictions: the sentences.
      references: a sentence, or several, of which all count as references, for each prediction.

    Source: Papineni et al. (2002); Post (2018), arXiv 1804.08771.

    >>> round(bleu(["the cat is on the mat"], ["the cat is on a mat"]), 2)
    53.73
    """
    return _corpus_score("BLEU", predictions, references)[0]


def chrf(predictions: Sequence[str], references: Sequence[str | Sequence[str]]) -> float:
    """Returns chrF2 of a corpus: the F score of n-grams of up to 6 characters.

    Args:
      predictions: the sentences.
      references: as of `bleu`.

    Source: Popovic (2015), W15-3049.

    >>> round(chrf(["a b"], ["a b c"]), 2)
    63.64
    """
    return _corpus_score("CHRF", predictions, references)[0]


def signatures(references: Sequence[str | Sequence[str]]) -> dict[str, str]:
    """Returns sacrebleu's descriptions of how `bleu` and `chrf` are computed, by metric.

    >>> signatures(["one", "two"])["chrf"].split("|version")[0]
    'nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no'
    """
    empty = [""] * len(references)
    return {
        "bleu": _corpus_score("BLEU", empty, references)[1],
        "chrf": _corpus_score("CHRF", empty, references)[1],
    }


def _corpus_score(
    name: str, predictions: Sequence[str], references: Sequence[str | Sequence[str]]
) -> tuple[float, str]:
    metric = getattr(require_module("sacrebleu.metrics", EXTRA), name)()
    choices = [(x,) if isinstance(x, str) else tuple(x) for x in references]
    most = max(map(len, choices))
    # A stream has one reference per sentence; None where a sentence has fewer references.
    streams = [[x[k] if k < len(x) else None for x in choices] for k in range(most)]
    score = metric.corpus_score(list(predictions), streams)
    return float(score.score), str(metric.get_signature())


def _of_stems(
    score: Callable[[Sequence[Phones], Sequence[Pronunciations]], float], known: bool
) -> Callable[[Sequence[Any], Sequence[Any]], float]:
    """A score of the words whose stem is in the training part, or of the others."""

    def value(predictions: Sequence[Phones], references: Sequence[Pronunciations]) -> float:
        pairs = zip(predictions, references, strict=True)
        kept = [(x, y) for x, y in pairs if y.has_known_stem == known]
        return score([x for x, _ in kept], [y for _, y in kept])

    return value


SCORES = {
    "wer": (wer, False),
    "cer": (cer, False),
    "phone_error": (phone_error, False),
    "word_error": (word_error, False),
    "phone_error_known_stem": (_of_stems(phone_error, True), False),
    "word_error_known_stem": (_of_stems(word_error, True), False),
    "phone_error_new_stem": (_of_stems(phone_error, False), False),
    "word_error_new_stem": (_of_stems(word_error, False), False),
    "bleu": (bleu, True),
    "chrf": (chrf, True),
}
"""Scores by the names of the metrics, and whether a higher one is better."""
