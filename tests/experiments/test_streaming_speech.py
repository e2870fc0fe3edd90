"""A streamed recognizer against the offline one; delays of words by forced alignment."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import ModelConfig, load_module
from rnnlab.models.decoding.transducer_greedy import transducer_greedy
from rnnlab.tasks.alphabet import Alphabet
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.padding import pad
from rnnlab.tasks.readers.utterances import Utterances
from rnnlab.tasks.speech_features import SpeechFeatures
from rnnlab.testing import assert_close
from rnnlab.train.evaluate import make_predict

STUDY = Path(__file__).parents[2] / "experiments" / "studies" / "streaming_speech.py"
study = load_module.load(STUDY, "a study")


@pytest.mark.parametrize("cell", ["mingru", pytest.param("gru", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("quick_compile")
def test_streamed_transcript_equals_the_offline_one(cell):
    rng = np.random.default_rng(0)
    frames = [rng.normal(size=(n, 13)) * 2 + 3 for n in (40, 31, 2)]
    features = SpeechFeatures.fit(frames, "running", 3)
    alphabet = Alphabet(tuple(" ABC"))
    model = ModelConfig(cell, width=8, depth=2, expansion=1, mlp_expansion=2).build(
        5, in_features=features.out_features, rngs=nnx.Rngs(1)
    )
    # A head of larger weights emits more than one symbol.
    model.head_kernel[...] = 3 * jax.random.normal(jax.random.key(0), model.head_kernel.shape)
    inputs, mask = pad([features(x) for x in frames])
    graphdef, params = nnx.split(model, nnx.Param)
    outputs = np.asarray(make_predict(graphdef)(params, Batch(inputs, None, mask)))
    recognizer = study.ctc_recognizer(model)
    texts = []
    for row, xs in enumerate(frames):
        whole = study.stream(xs, features, recognizer, chunk=len(xs))
        streamed = study.stream(xs, features, recognizer)
        steps = int(mask[row].sum())
        assert len(streamed.logits) == steps
        assert_close(streamed.logits, outputs[row, :steps], "streamed logits")
        np.testing.assert_array_equal(streamed.logits, whole.logits)
        texts.append(alphabet.text(streamed.labels))
        assert texts[-1] == alphabet.best_path(outputs[row, :steps])
        assert (np.diff(streamed.frames) >= 0).all()
        # Slopes wait for two frames, and a time step has three.
        assert (streamed.frames[:-1] >= 5).all() or len(xs) < 5
    assert len(texts[0]) > 3


@pytest.mark.usefixtures("quick_compile")
def test_streamed_transducer_emits_the_labels_of_the_whole_utterance():
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(30, 13))
    features = SpeechFeatures.fit([frames], "running", 3)
    model = ModelConfig(width=8, depth=1, expansion=1).build(
        5, in_features=features.out_features, loss="transducer", rngs=nnx.Rngs(2)
    )
    params = nnx.state(model, nnx.Param)
    nnx.update(model, jax.tree.map(lambda x: 3 * x, params))
    streamed = study.stream(frames, features, study.transducer_recognizer(model))
    _, emitted = transducer_greedy(model, jnp.asarray(features(frames)))
    np.testing.assert_array_equal(streamed.labels, emitted[emitted >= 0])
    assert len(streamed.labels) > 1
    assert len(streamed.logits) == 10


def test_words_and_their_delays_are_those_of_the_emissions():
    pytest.importorskip("rapidfuzz")
    alphabet = Alphabet(tuple(" ENOW"))
    labels = alphabet.labels("ONE NO WE")
    frames = np.array([10, 12, 15, 15, 30, 33, 33, 50, 53])
    emitted = study.word_frames(alphabet, study.Streamed(labels, frames, np.zeros(0), []))
    assert emitted == [("ONE", 15), ("NO", 33), ("WE", 53)]
    assert study.delays(emitted, "ONE NEW WE", np.array([12, 30, 55])) == [30.0, -20.0]


def test_ends_of_words_are_found_by_forced_alignment():
    rng = np.random.default_rng(0)
    sound = {"A": 3.0, "B": -3.0, "C": 8.0}
    pronunciations = {"AB": ("A", "B"), "C": ("C",)}

    def utterances(count):
        texts, frames, ends = [], [], []
        for _ in range(count):
            words = list(rng.permutation(["AB", "C", "AB"]))
            values, end = [0.0] * 5, []
            for word in words:
                values += [sound[x] for x in pronunciations[word] for _ in range(6)]
                end.append(len(values))
                values += [0.0] * int(rng.integers(0, 2)) * 6
            values += [0.0] * 5
            texts.append(" ".join(words))
            frames.append(np.array(values)[:, None] + 0.1 * rng.normal(size=(len(values), 2)))
            ends.append(end)
        names = tuple(map(str, range(count)))
        return Utterances(names, names, tuple(texts), tuple(frames)), ends

    train, _ = utterances(40)
    test, ends = utterances(6)
    found = study.word_ends(train, test, pronunciations)
    errors = np.abs(np.concatenate(found) - np.concatenate(ends))
    assert np.quantile(errors, 0.8) <= 2
