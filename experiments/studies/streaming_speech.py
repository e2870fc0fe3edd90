"""How late, how fast and with how much state does a recognizer transcribe speech as it arrives?

Command:  python experiments/studies/streaming_speech.py RUN [RUN ...]
Data:     rnnlab data get an4 --from FOLDER
Device:   one core of a shared x86 machine, a minute per run and one for the alignment.
Result:   experiments/results/streaming_speech/rows.jsonl, shown in docs/results.md.
Paper:    none of minimal cells.
Expected: the same transcripts as offline; a median delay of a word of 0 to 200 ms, since CTC emits
          a character while its sound lasts, and slopes and stacking wait for at most 4 frames; a
          real-time factor below 0.1; a state of a few kilobytes.

A RUN is one of experiments/training/speech.py with the running mean, by CTC or a transducer. Each
test utterance is streamed frame by frame: features, one step of the model per stacked frame, greedy
decoding.

The delay of a word is the time from its end to the frame at which its last character is emitted,
over the words that are right. The end of a word is that of a forced alignment: hidden Markov models
of phones, trained on the training part (three states per phone and an optional silence between
words), aligned to the true text. Computing time is not part of the delay. The real-time factor is
the computing time over the duration of the sound.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab import provenance, records
from rnnlab.audio import Differences, subtract_mean
from rnnlab.bench.base import Column, make_table
from rnnlab.datasets.folder import set_folder
from rnnlab.models.config import count_parameters, state_bytes
from rnnlab.models.decoding.transducer_greedy import greedy_carry, transducer_greedy
from rnnlab.optional import require_module
from rnnlab.plotting import cell_label
from rnnlab.records import Record
from rnnlab.runs.api import load_run
from rnnlab.runs.trained_model import load
from rnnlab.tables import Table, device_labels, print_table
from rnnlab.tasks.alphabet import BLANK, Alphabet, emissions
from rnnlab.tasks.readers.utterances import FRAMES_PER_SECOND, Utterances, read_pronunciations
from rnnlab.tasks.reference import hidden_markov
from rnnlab.tasks.reference.hidden_markov import StatePath
from rnnlab.tasks.reference.text_scores import EXTRA, cer, wer
from rnnlab.tasks.speech import utterance_parts
from rnnlab.tasks.speech_features import SpeechFeatures

OUT = Path(__file__).parent.parent / "results" / "streaming_speech" / "rows.jsonl"
STATES_PER_PHONE = 3
SILENCE = "SIL"

COLUMNS = (
    Column("cell", lambda r: cell_label(r["cell"])),
    Column("loss", lambda r: r["loss"]),
    Column("seed", lambda r: str(r["seed"])),
    Column("WER", lambda r: f"{r['wer']:.3f}"),
    Column("CER", lambda r: f"{r['cer']:.3f}"),
    Column("same text as offline", lambda r: f"{r['same_texts']} of {r['utterances']}"),
    Column("word delay in ms, median", lambda r: f"{r['word_delay_ms']['median']:.0f}"),
    Column("90% below", lambda r: f"{r['word_delay_ms']['p90']:.0f}"),
    Column("real-time factor", lambda r: f"{r['real_time_factor']:.3f}"),
    Column("ms per step, median", lambda r: f"{1e3 * r['step_seconds']:.2f}"),
    Column("state in bytes", lambda r: f"{r['state_bytes']:,}"),
    Column("parameters", lambda r: f"{r['parameters']:,}"),
)


class Streamed(NamedTuple):
    """A streamed utterance.

    Attributes:
      labels: emitted labels.
      frames: number of frames that were received when each was emitted.
      logits: (steps, classes) of all steps; (steps, 0) of a transducer.
      seconds: computing time of each call.
    """

    labels: np.ndarray
    frames: np.ndarray
    logits: np.ndarray
    seconds: list[float]


class Recognizer(NamedTuple):
    """A model with its greedy decoder, one time step at a time.

    Attributes:
      start: the state before the first time step.
      step: `(state, x) -> (state, labels, logits)`: the labels that a time step emits, and its
        logits, which are empty for a transducer.
    """

    start: Any
    step: Callable[[Any, np.ndarray], tuple[Any, np.ndarray, np.ndarray]]


def ctc_recognizer(model: nnx.Module) -> Recognizer:
    """Returns a model that was trained by CTC."""
    graphdef, params = nnx.split(model, nnx.Param)

    @jax.jit
    def outputs(params, carry, x):
        model = nnx.merge(graphdef, params, copy=True)
        model.eval()
        return model.step(carry, x)

    def step(state, x):
        carry, last = state
        carry, logits = outputs(params, carry, x)
        logits = np.asarray(logits)
        return (
            (carry, int(logits.argmax())),
            emissions(logits.argmax(keepdims=True), last)[1],
            logits,
        )

    return Recognizer((model.initial_carry(()), BLANK), step)


def transducer_recognizer(model: nnx.Module) -> Recognizer:
    """Returns a transducer."""

    def step(carry, x):
        carry, emitted = transducer_greedy(model, jnp.asarray(x[None]), carry)
        emitted = np.asarray(emitted)
        return carry, emitted[emitted >= 0], np.zeros(0)

    return Recognizer(greedy_carry(model), step)


RECOGNIZERS = {"ctc": ctc_recognizer, "transducer": transducer_recognizer}
"""Recognizers by the loss of the run."""


def stream(
    frames: np.ndarray, features: SpeechFeatures, recognizer: Recognizer, chunk: int = 1
) -> Streamed:
    """Returns what a recognizer emits for frames that arrive one after the other.

    Args:
      frames: (time, features) of the front end.
      features: makes the inputs of the model.
      recognizer: emits labels.
      chunk: frames per call.
    """
    stream, state = features.stream(), recognizer.start
    labels, times, logits, seconds = [], [], [], []

    def receive(inputs: np.ndarray, received: int) -> None:
        nonlocal state
        for x in inputs.astype(np.float32):
            state, emitted, made = recognizer.step(state, x)
            labels.extend(emitted)
            times.extend([received] * len(emitted))
            logits.append(made)

    for start in range(0, len(frames), chunk):
        begun = time.perf_counter()
        piece = frames[start : start + chunk]
        receive(stream.push(piece), start + len(piece))
        seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    receive(stream.finish(), len(frames))
    seconds.append(time.perf_counter() - begun)
    return Streamed(np.array(labels, int), np.array(times, int), np.array(logits), seconds)


def word_frames(alphabet: Alphabet, streamed: Streamed) -> list[tuple[str, int]]:
    """Returns the emitted words, and how many frames were received when each was complete."""
    words: list[tuple[str, int]] = []
    word = ""
    for label, frame in zip(streamed.labels, streamed.frames, strict=True):
        symbol = alphabet.symbols[label - 1]
        if symbol == " ":
            word = ""
            continue
        if word:
            words.pop()
        word += symbol
        words.append((word, int(frame)))
    return words


def word_ends(
    train: Utterances, test: Utterances, pronunciations: Mapping[str, Sequence[str]]
) -> list[np.ndarray]:
    """Returns the number of frames up to the end of each word, by forced alignment.

    Args:
      train: trains the models of phones.
      test: is aligned; both with texts whose words have a pronunciation.
      pronunciations: phones of each word.
    """
    phones = sorted({phone for of in pronunciations.values() for phone in of} - {SILENCE})
    number = {phone: k for k, phone in enumerate(phones)}
    silence = STATES_PER_PHONE * len(phones)

    def path(text: str) -> tuple[StatePath, list[int]]:
        """The states of a text, and the place of the last state of each word."""
        states, optional, ends = [silence], [True], []
        for word in text.split():
            for phone in pronunciations[word]:
                first = STATES_PER_PHONE * number[phone]
                states.extend(range(first, first + STATES_PER_PHONE))
                optional.extend([False] * STATES_PER_PHONE)
            ends.append(len(states) - 1)
            states.append(silence)
            optional.append(True)
        return StatePath(np.array(states), np.array(optional)), ends

    sequences = [
        [Differences()(subtract_mean(frames)) for frames in part.frames] for part in (train, test)
    ]
    paths = [[path(text) for text in part.texts] for part in (train, test)]
    models = hidden_markov.train(sequences[0], [p for p, _ in paths[0]], silence + 1)
    places, _ = hidden_markov.align(models, sequences[1], [p for p, _ in paths[1]])
    return [
        np.searchsorted(place, ends, side="right")
        for place, (_, ends) in zip(places, paths[1], strict=True)
    ]


def delays(emitted: Sequence[tuple[str, int]], text: str, ends: np.ndarray) -> list[float]:
    """Returns the delay in milliseconds of each word that is right.

    Args:
      emitted: words and the frames received when each was complete.
      text: the true text.
      ends: the number of frames up to the end of each of its words.
    """
    levenshtein = require_module("rapidfuzz.distance.Levenshtein", EXTRA)
    words, found = [word for word, _ in emitted], []
    for tag, start, stop, true_start, _ in levenshtein.opcodes(words, text.split()):
        if tag == "equal":
            for k in range(stop - start):
                late = emitted[start + k][1] - ends[true_start + k]
                found.append(1000 * late / FRAMES_PER_SECOND)
    return found


def measure(folder: Path, ends: Sequence[np.ndarray]) -> Record:
    """Returns the record of a run."""
    _, _, experiment = load_run(folder)
    task, trained = experiment.data, load(folder)
    prepared = trained.data.preparation
    parts, _, _ = utterance_parts(task.path, task.features, task.valid, task.test)
    test = parts["test"]
    recognizer = RECOGNIZERS[task.loss](trained.model)
    stream(test.frames[0], prepared.features, recognizer)  # compiles
    streamed = [stream(frames, prepared.features, recognizer) for frames in test.frames]
    texts = [prepared.alphabet.text(one.labels) for one in streamed]
    offline = trained.predict().columns["predicted"].tolist()
    late = np.concatenate(
        [
            delays(word_frames(prepared.alphabet, one), text, end)
            for one, text, end in zip(streamed, test.texts, ends, strict=True)
        ]
    )
    seconds = np.concatenate([one.seconds for one in streamed])
    frames = sum(map(len, test.frames))
    stepped = [s for one in streamed for s in one.seconds[task.stack - 1 : -1 : task.stack]]
    return {
        "benchmark": "streaming_speech",
        **provenance.environment(jax.devices()[0]),
        "cell": experiment.model.cell,
        "loss": task.loss,
        "seed": experiment.train.seed,
        "wer": wer(texts, test.texts),
        "cer": cer(texts, test.texts),
        "utterances": len(texts),
        "same_texts": sum(a == b for a, b in zip(texts, offline, strict=True)),
        "word_delay_ms": {
            "words": len(late),
            "mean": float(late.mean()),
            "median": float(np.median(late)),
            "p90": float(np.quantile(late, 0.9)),
        },
        "real_time_factor": float(seconds.sum() / (frames / FRAMES_PER_SECOND)),
        "step_seconds": float(np.median(stepped)),
        "state_bytes": state_bytes(trained.model),
        "parameters": count_parameters(trained.model),
    }


def table(measured: Sequence[Record]) -> Table:
    """One table row per run."""
    return make_table(device_labels(list(measured)), COLUMNS, measured, ())


def main(folders: Sequence[Path]) -> int:
    measured = []
    pronunciations = read_pronunciations(set_folder("an4") / "an4.dic")
    parts, _, _ = utterance_parts(None, "mfcc", 0.1, 0.1)
    ends = word_ends(parts["train"], parts["test"], pronunciations)
    for folder in folders:
        print(folder.name, flush=True)
        record = measure(folder, ends)
        records.append(OUT, record)
        measured.append(record)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
