"""Speech: parts by speaker, labels, decoding, what the test part must not change; own files."""

import json

import numpy as np
import pytest
from small_data_set import is_here
from speech_files import an4_utterances, write_wav

from rnnlab.bundle.kinds import dump_preparation, load_preparation
from rnnlab.datasets.catalog import DATASETS
from rnnlab.datasets.data_set import DataFile
from rnnlab.errors import DataError
from rnnlab.tasks import Speech
from rnnlab.tasks import speech as speech_module
from rnnlab.tasks.alphabet import Alphabet
from rnnlab.tasks.batch import arrays
from rnnlab.tasks.speech_features import SpeechFeatures


@pytest.fixture
def an4(tmp_path, monkeypatch):
    """A function that writes a small AN4, which the catalog accepts, and returns its folder."""
    names = ("an4_train_mfcc.npz", "an4_test_mfcc.npz")
    parts = {name: ((DataFile(name, None),),) for name in names}
    monkeypatch.setitem(DATASETS, "an4", DATASETS["an4"]._replace(parts=parts, documents=()))
    monkeypatch.setattr("rnnlab.datasets.folder.expected_digest", lambda *_: None)

    def write(name="an4", **changes):
        folder = tmp_path / name
        folder.mkdir()
        np.savez(folder / names[0], **an4_utterances(44))
        np.savez(folder / names[1], **(an4_utterances(6, first=44) | changes))
        return folder

    return write


def values(data, name):
    return [x for batch in data.eval_sets[name]() for x in arrays(batch)]


def test_parts_are_speakers_and_labels_spell_the_texts(an4):
    folder = an4()
    task = Speech(folder, batch_size=4)
    parts, _, _ = speech_module.utterance_parts(folder, "mfcc", 0.1, 0.1)
    speakers = [set(part.speakers) for part in parts.values()]
    assert list(map(len, speakers)) == [19, 3, 3]
    assert not speakers[0] & speakers[1]
    assert speakers[1] == {"s000", "s010", "s020"}
    data = task.load(0)
    assert data.classes == ("blank", " ", "G", "N", "O")
    batch = data.train_batch(0)
    steps = batch.mask.sum(1)
    for k, number in enumerate(batch.example):
        labels = batch.labels[k][batch.labels[k] >= 0]
        assert "".join(data.classes[x] for x in labels) == parts["train"].texts[number]
        assert steps[k] == -(-len(parts["train"].frames[number]) // 3)
    assert batch.inputs.shape[2] == data.in_features == 78
    numbers = np.concatenate([b.example for n in ("valid", "test") for b in data.eval_sets[n]()])
    assert sorted(numbers[numbers >= 0]) == list(range(38, 50))


def test_outputs_on_the_true_path_decode_to_the_texts(an4):
    data = Speech(an4(), batch_size=4).load(0)
    for batch in data.eval_sets["test"]():
        outputs = np.zeros((*batch.inputs.shape[:2], data.out_features))
        for row, labels in enumerate(batch.labels):
            path = [x for label in labels[labels >= 0] for x in (0, label, label)]
            path = path[: outputs.shape[1]]
            outputs[row, np.arange(len(path)), path] = 1
        pairs = data.decode(outputs, batch)
        assert len(pairs) == (batch.example >= 0).sum()
        for predicted, actual in pairs:
            assert actual.startswith(predicted)
            assert predicted
        assert data.decode(batch.labels, batch) == [(a, a) for _, a in pairs]


@pytest.mark.parametrize("mean", ["running", "utterance"])
def test_changed_test_part_changes_no_training_number(an4, mean):
    rng = np.random.default_rng(1)
    other = an4_utterances(6, first=44)["features"]
    settings = {"batch_size": 4, "mean": mean, "augment": ("time-mask=0.2", "feature-mask=0.2")}
    plain = Speech(an4(), **settings).load(3)
    planted = Speech(
        an4("planted", features=(other + rng.normal(size=other.shape)).astype(np.float16)),
        **settings,
    ).load(3)
    for n in range(5):
        np.testing.assert_equal(planted.train_batch(n), plain.train_batch(n))
    np.testing.assert_equal(values(planted, "valid"), values(plain, "valid"))
    assert np.abs(values(planted, "test")[0] - values(plain, "test")[0]).max() > 0.1
    assert planted.fingerprint != plain.fingerprint


def test_features_in_a_stream_equal_those_of_the_utterance():
    frames = [np.random.default_rng(k).normal(size=(200 + k, 13)) * 3 + 5 for k in range(4)]
    features = SpeechFeatures.fit(frames, "running", 3)
    for xs in frames:
        stream = features.stream()
        made = [stream.push(xs[k : k + 1]) for k in range(len(xs))]
        made = np.concatenate([*made, stream.finish()]).astype(np.float32)
        np.testing.assert_array_equal(made, features(xs))
    middle = np.concatenate([features(xs) for xs in frames])
    np.testing.assert_allclose(middle.std(0), 1, atol=0.2)
    with pytest.raises(ValueError, match="mean must be 'running' in a stream"):
        SpeechFeatures.fit(frames, "utterance", 3).stream()


def test_masks_keep_labels_and_padding(an4):
    folder = an4()
    plain = Speech(folder, batch_size=8).load(0).train_batch(1)
    task = Speech(folder, batch_size=8, augment=("time-mask=0.5", "feature-mask=0.3"))
    masked = task.load(0).train_batch(1)
    np.testing.assert_array_equal(masked.labels, plain.labels)
    np.testing.assert_array_equal(masked.inputs[~masked.mask], 0)
    changed = (masked.inputs != plain.inputs) & masked.mask[..., None]
    assert 0.1 < changed[masked.mask].mean() < 0.7
    assert (masked.inputs[changed] == 0).all()


def test_transducer_gets_settings_of_a_decoder(an4):
    data = Speech(an4(), loss="transducer").load(0)
    assert data.loss == "transducer"
    assert data.decoding.max_length >= 8
    assert data.decoding.begin is None


def own_files(folder, count=12, rate=8000, header="file\ttext\tspeaker", short=()):
    rng = np.random.default_rng(0)
    lines = [header]
    for k in range(count):
        write_wav(folder / f"{k}.wav", rng.uniform(-0.5, 0.5, 100 if k in short else 4000), rate)
        cells = {"file": f"{k}.wav", "text": "ja  nein" if k % 2 else "ja", "speaker": f"p{k // 2}"}
        cells["part"] = ("train", "valid", "test")[k % 3]
        lines.append("\t".join(cells[name] for name in header.split("\t")))
    (folder / "texts.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("features", ["mfcc", "mel"])
def test_own_recordings_are_split_by_speaker(tmp_path, features):
    folder = own_files(tmp_path)
    data = Speech(folder, features=features, batch_size=2, valid=0.2, test=0.2, stack=2).load(0)
    parts, front_end, _ = speech_module.utterance_parts(folder, features, 0.2, 0.2)
    assert front_end.rate == 8000
    speakers = [set(part.speakers) for part in parts.values()]
    assert not speakers[0] & (speakers[1] | speakers[2])
    assert data.in_features == 4 * front_end.out_features
    assert any("12 recordings of 0.1 minutes at 8000" in note for note in data.notes)
    # 4000 samples are 48 frames of 25 ms, 24 time steps.
    assert data.train_batch(0).mask.sum(1).tolist() == [24, 24]
    predicted = data.preparation.predict(
        lambda batch: np.eye(data.out_features)[np.tile([1, 2], 32)][None], folder, None
    )
    assert len(predicted) == 12
    assert predicted.kind == "text"
    assert set(predicted.columns) == {"file", "predicted"}
    assert data.preparation.texts[0] in ("ja", "ja nein")
    # A bundle keeps all but the data of the run.
    stored = json.loads(json.dumps(dump_preparation(data.preparation)))
    again = load_preparation(stored, "preparation")
    assert again.alphabet == data.preparation.alphabet
    assert again.front_end == front_end
    xs = parts["test"].frames[0]
    np.testing.assert_array_equal(again.features(xs), data.preparation.features(xs))
    assert again.test is again.texts is None


def test_own_parts_are_those_of_the_column(tmp_path):
    folder = own_files(tmp_path, header="file\ttext\tpart")
    parts, _, _ = speech_module.utterance_parts(folder / "texts.tsv", "mfcc", 0.1, 0.1)
    assert parts["valid"].names == ("1.wav", "4.wav", "7.wav", "10.wav")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "3.wav").unlink(), "3.wav"),
        (lambda folder: write_wav(folder / "3.wav", np.zeros(4000), 16000), "3.wav.*8000.*16000"),
        (lambda folder: write_wav(folder / "3.wav", np.zeros(100)), "3.wav.*>= 200 samples"),
        (lambda folder: (folder / "texts.tsv").unlink(), "one table of texts.*none"),
        (lambda folder: (folder / "b.csv").write_text("file,text\n"), "'b.csv', 'texts.tsv'"),
        (
            lambda folder: (folder / "texts.tsv").write_text("file\ttext\n0.wav\t\n"),
            "line 2: text must not be empty",
        ),
        (
            lambda folder: (folder / "texts.tsv").write_text("file\ttext\tpart\n0.wav\ta\tdev\n"),
            "line 2: part must be one of train, valid, test, got 'dev'",
        ),
        (lambda folder: (folder / "texts.tsv").write_text("file\tsaid\n0.wav\ta\n"), "text"),
    ],
)
def test_own_recordings_that_are_not_valid_are_refused(tmp_path, change, message):
    folder = own_files(tmp_path)
    change(folder)
    with pytest.raises(DataError, match=message) as raised:
        Speech(folder).load(0)
    assert len(str(raised.value).splitlines()) == 1


def test_text_that_is_too_long_for_its_time_steps_is_refused(tmp_path):
    own_files(tmp_path)
    with pytest.raises(DataError, match="must have >= 2 time steps for its text, got 1"):
        Speech(tmp_path, stack=48).load(0)


def test_wrong_settings_are_refused(an4):
    with pytest.raises(ValueError, match="time_warp"):
        Speech(augment=("time-warp=0.1",))
    with pytest.raises(ValueError, match="loss must be one of 'ctc', 'transducer'"):
        Speech(loss="crf")
    with pytest.raises(ValueError, match="features must be 'mfcc' for AN4"):
        Speech(an4(), features="mel").load(0)


def test_alphabet_separates_equal_symbols_by_blanks():
    alphabet = Alphabet.of(["AAB B"])
    classes = [2, 2, 0, 2, 3, 1, 1, 0, 3, 0]
    assert alphabet.best_path(np.eye(4)[classes]) == "AAB B"
    assert alphabet.labels("ABC").tolist() == [2, 3]


@pytest.mark.slow
@pytest.mark.skipif(not is_here("an4"), reason="AN4 is not in the data folder")
def test_baselines_of_an4_are_those_of_the_constant_texts():
    data = Speech().load(0)
    scores = data.baselines()
    assert round(scores["constant text (by word)"]["wer"], 2) == 0.96
    assert round(scores["constant text (by character)"]["cer"], 2) == 0.74
