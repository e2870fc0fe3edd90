"""The contract of a task: settings that load batches by number, evaluation sets and baselines."""

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from rnnlab.heads import Head, SequenceHead
from rnnlab.tasks.batch import Batch, select
from rnnlab.tasks.decoding import Decoding
from rnnlab.tasks.predictions import Preparation


@dataclass(frozen=True)
class TaskData:
    """A loaded task. Everything in it is a pure function of the task, the seed and an index.

    Attributes:
      loss: `"categorical"` (classes), `"binary"` (several labels per time step), `"squared"`
        (values), or a head, which also names the outputs, of time steps or of whole sequences.
        `"ctc"` and `"transducer"` are losses of `Batch.labels`, classes from 1 on; class 0 is the
        blank. `"transducer"` gets a `Transducer`. `"bpr_max"` and `"top1_max"` compare classes with
        `Batch.negatives`.
      metrics: names that `rnnlab.train.metrics.find_metric` accepts. The first is the main one.
      out_features: number of classes, labels or values per time step.
      train_batch: returns training batch 0, 1, 2, ...: the same batch at each call.
      rows: returns the examples of training batch n in a slice of the batch axis, and reads or
        computes no others: `rows(n, rows)` equals `select(train_batch(n), rows)` in every bit. All
        training batches then have the shapes of batch 0. None: `train_rows` makes the whole batch.
      eval_sets: evaluation sets by name, each a function that returns its batches. The first set
        (`"valid"`) selects the best step, the last (`"test"`) is reported.
      baselines: returns the scores of trivial predictors on the last evaluation set, by name: a
        number is a score of the first metric, a mapping has one score per metric.
      vocab_size: number of token ids; None where inputs are values.
      in_features: number of values per time step; None where inputs are tokens.
      num_variables: number of variables n of an irregular record, whose inputs start with n values,
        n flags of those observed and n times since they were observed, as
        `rnnlab.layers.InputDecay` reads them; 0 for all other inputs.
      autoregressive: whether targets are later inputs, which a bidirectional model would see.
      stateful: whether example r of batch n + 1 continues example r of batch n, except at resets.
      target_scale: what 1 in the targets is in the data's own units, in which `rmse` and `mae` are
        reported.
      selection_metric: the one of `metrics` that selects the best step; empty: the main one.
      relative_scales: returns what 1 in each target of an evaluation batch is in multiples of
        `target_scale`, of the shape of the targets; None where it is 1 everywhere.
      vocabulary: the symbol of each token id; empty where tokens are not text.
      classes: the name of each class; empty where classes have only numbers.
      example_ids: numbers or ids, in their file, of the sequences of the last evaluation set; None
        where it is not read from a file of sequences.
      fingerprint: digest of the data and its preparation; of the settings for generated data.
      preparation: predicts from new data; None: only the last evaluation set can be predicted.
      notes: sentences on what was detected in the data, which are shown before the training.
      chosen_settings: settings of the task that `load` chose from the data, by name, such as a
        normalization in place of `"auto"`. A run stores them at its start and loads its data with
        them from then on.
      loss_options: keyword arguments of a named loss, such as its class weights.
      wanted_recall: of a categorical loss, recall by the name of a class. The result reports the
        recall and the precision on the last evaluation set at the threshold of the class's
        probability that reaches the wanted recall on the first one.
      decode: returns a prediction and its reference for each example, from the outputs of a batch
        and the batch, for metrics of whole decoded sequences; None where no metric needs it. With
        `decoding` it gets label sequences (batch, label_time) instead of the outputs,
        `IGNORE_INDEX` after their ends.
      decoding: settings of the decoder of a model that generates label sequences; None where they
        follow from the outputs.
      source_vocab_size: number of token ids of `Batch.source`; None where it has values, and for
        batches without a source. A task with a source gets an encoder-decoder.
      source_features: number of values per time step of `Batch.source`; None where it has tokens,
        and for batches without a source.
      signatures: how metrics are computed, by name, which the result of a run records.
      word_sizes: numbers of words and of characters, where a time step is a word: `in_features`
        integers, the id of the word and those of its characters. None for all other inputs.
    """

    loss: str | Head | SequenceHead
    metrics: tuple[str, ...]
    out_features: int
    train_batch: Callable[[int], Batch]
    eval_sets: Mapping[str, Callable[[], Iterable[Batch]]]
    baselines: Callable[[], Mapping[str, float | Mapping[str, float]]]
    vocab_size: int | None = None
    in_features: int | None = None
    num_variables: int = 0
    autoregressive: bool = False
    stateful: bool = False
    target_scale: float = 1.0
    selection_metric: str = ""
    relative_scales: Callable[[Batch], np.ndarray] | None = None
    vocabulary: tuple[str, ...] = field(default=(), repr=False)
    classes: tuple[str, ...] = field(default=(), repr=False)
    example_ids: np.ndarray | None = field(default=None, repr=False)
    fingerprint: str = ""
    preparation: Preparation | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    chosen_settings: Mapping[str, Any] = field(default_factory=dict)
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    wanted_recall: Mapping[str, float] = field(default_factory=dict)
    decode: Callable[[np.ndarray, Batch], Iterable[tuple[Any, Any]]] | None = None
    rows: Callable[[int, slice], Batch] | None = None
    decoding: Decoding | None = None
    source_vocab_size: int | None = None
    source_features: int | None = None
    signatures: Mapping[str, str] = field(default_factory=dict)
    word_sizes: tuple[int, int] | None = None

    def train_rows(self, n: int, rows: slice) -> Batch:
        """Returns some examples of training batch n, as a process or a device reads its own.

        Args:
          n: number of the batch.
          rows: slice of its batch axis.

        >>> from rnnlab.tasks import Adding
        >>> Adding(length=5, batch_size=8).load(seed=0).train_rows(0, slice(2, 4)).inputs.shape
        (2, 5, 2)
        """
        if self.rows is not None:
            return self.rows(n, rows)
        return select(self.train_batch(n), rows)


class Task(Protocol):
    """A frozen dataclass of a task's settings."""

    def load(self, seed: int) -> TaskData:
        """Reads or generates the data. `seed` affects only the training batches."""


class RngStream(enum.IntEnum):
    """Independent streams of random numbers."""

    TRAIN = 0
    """Draws of training batches, which depend on the seed."""
    EVAL = 1
    """Draws of evaluation sets, the same for every seed."""
    FIXED = 2
    """What a task draws once, the same for every seed."""
    ORDER = 3
    """Permutations of examples."""
    AUGMENT = 4
    """Random changes of training examples, which depend on the seed."""


def rng_for(stream: RngStream, *numbers: int) -> np.random.Generator:
    """Returns NumPy's generator for a stream and the seeds and indices within it.

    >>> one, same = rng_for(RngStream.TRAIN, 0, 7), rng_for(RngStream.TRAIN, 0, 7)
    >>> bool(one.integers(100) == same.integers(100))
    True
    """
    return np.random.default_rng([int(stream), *numbers])
