"""Translations without a model: the sentence itself, and that of the nearest training sentence."""

from collections.abc import Mapping, Sequence

from rnnlab.optional import require_module

BLOCK = 500
"""Sentences that are compared with the training part in one product of sparse matrices."""


def copied_and_nearest(
    train: Sequence[tuple[str, str]], sentences: Sequence[str]
) -> Mapping[str, list[str]]:
    """Returns two translations of each sentence, by the name of the baseline.

    The nearest training sentence has the greatest cosine of the TF-IDF weights of words and pairs
    of words, and of equally near ones it is the first.

    Args:
      train: pairs of a sentence and its translation.
      sentences: to translate.

    Raises:
      ValueError: scikit-learn is not installed.

    >>> train = [("I see.", "Je comprends."), ("Go home.", "Rentre.")]
    >>> copied_and_nearest(train, ["Go home now."])["nearest training sentence"]
    ['Rentre.']
    """
    text = require_module("sklearn.feature_extraction.text", "sequences")
    # Single letters and punctuation are words, too: "I", "?".
    vectorizer = text.TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True
    )
    known = vectorizer.fit_transform([source for source, _ in train]).T.tocsc()
    nearest: list[str] = []
    for start in range(0, len(sentences), BLOCK):
        similarity = vectorizer.transform(sentences[start : start + BLOCK]) @ known
        best = similarity.argmax(axis=1)
        nearest += [train[int(k)][1] for k in best.ravel().tolist()[0]]
    return {"copied sentence": list(sentences), "nearest training sentence": nearest}
