"""Preparations, heads and encodings of a bundle by the name of their class."""

from collections.abc import Mapping
from typing import Any

from rnnlab.bundle.values import dump, kept_fields, load_dataclass, require_keys
from rnnlab.heads import LinearChain, Mixture, NegativeBinomial, Quantiles, StudentT
from rnnlab.heads.base import Head, SequenceHead
from rnnlab.tasks.digit_preparation import DigitPreparation
from rnnlab.tasks.entity_preparation import EntityPreparation
from rnnlab.tasks.predictions import Preparation
from rnnlab.tasks.pronunciation_preparation import PronunciationPreparation
from rnnlab.tasks.record_preparation import RecordPreparation
from rnnlab.tasks.sequence_preparation import SequencePreparation
from rnnlab.tasks.series_preparation import SeriesPreparation
from rnnlab.tasks.session_preparation import SessionPreparation
from rnnlab.tasks.sketch_preparation import SketchPreparation
from rnnlab.tasks.speech_preparation import SpeechPreparation
from rnnlab.tasks.text_preparation import TextPreparation
from rnnlab.tasks.tokenizer_preparation import TokenizerPreparation
from rnnlab.tasks.translation_preparation import TranslationPreparation
from rnnlab.train.losses import LABEL_LOSSES, LOSSES, SAMPLED_LOSSES

PREPARATIONS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(TextPreparation, TokenizerPreparation),
        *(SequencePreparation, SeriesPreparation, RecordPreparation, EntityPreparation),
        *(SessionPreparation, SketchPreparation),
        *(PronunciationPreparation, TranslationPreparation),
        *(SpeechPreparation, DigitPreparation),
    )
}
"""Classes of preparations by name."""

HEADS: dict[str, type] = {
    kind.__name__: kind for kind in (LinearChain, Mixture, NegativeBinomial, Quantiles, StudentT)
}
"""Classes of heads by name."""


def dump_kind(value: Any, kinds: Mapping[str, type], what: str) -> dict[str, Any]:
    """Returns a dataclass as JSON values, with the name of its class in `kinds` as `kind`.

    Raises:
      ValueError: its class is not one of `kinds`, such as one of a user's file.
    """
    name = next((name for name, kind in kinds.items() if kind is type(value)), None)
    if name is None:
        raise ValueError(
            f"the {what} of a bundle must be one of {', '.join(kinds)}, since a bundle holds no "
            f"code, got {type(value).__name__}; use one of them"
        )
    return {"kind": name, **dump(value)}


def load_kind(value: Any, kinds: Mapping[str, type], where: str) -> Any:
    """Returns the dataclass that `dump_kind` described.

    Raises:
      ValueError: its kind is unknown, or a field is.
    """
    name = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(
            f"{where}.kind must be one of {', '.join(kinds)}, got {str(name)[:40]!r}; restore it, "
            "or upgrade rnnlab"
        )
    kind = kinds[name]
    require_keys(value, {"kind", *(field.name for field in kept_fields(kind))}, where)
    return load_dataclass(kind, {k: x for k, x in value.items() if k != "kind"}, where)


def dump_preparation(preparation: Preparation | None) -> dict[str, Any] | None:
    """Returns a preparation without data of the run, as JSON values.

    >>> dump_preparation(TextPreparation(("a", "b"), window=8, batch_size=4))["kind"]
    'TextPreparation'
    """
    return None if preparation is None else dump_kind(preparation, PREPARATIONS, "preparation")


def load_preparation(value: Any, where: str) -> Preparation | None:
    """Returns a preparation, which predicts only from data that is passed to it."""
    return None if value is None else load_kind(value, PREPARATIONS, where)


def dump_loss(loss: str | Head | SequenceHead) -> str | dict[str, Any]:
    """Returns the name of a loss, or a head as JSON values.

    >>> dump_loss(NegativeBinomial(2))
    {'kind': 'NegativeBinomial', 'horizon': 2}
    """
    return loss if isinstance(loss, str) else dump_kind(loss, HEADS, "head")


def load_loss(value: Any, where: str) -> str | Head | SequenceHead:
    """Returns the name of a loss, or a head."""
    if not isinstance(value, str):
        return load_kind(value, HEADS, where)
    names = (*LOSSES, *LABEL_LOSSES, *SAMPLED_LOSSES)
    if value not in names:
        raise ValueError(
            f"{where} must be one of {', '.join(names)} or a head, got {value[:40]!r}; restore it"
        )
    return value
