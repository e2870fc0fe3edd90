"""Spoken digits: parts by number and by speaker, from the archive and from WAV files."""

import numpy as np
import pytest
from small_data_set import is_here
from speech_files import write_wav

from rnnlab.errors import DataError
from rnnlab.tasks import SpokenDigits
from rnnlab.tasks.readers.utterances import read_spoken_digits


@pytest.fixture
def folder(tmp_path):
    """Tones of two speakers, whose pitch stays, rises or falls by the digit."""
    rng = np.random.default_rng(0)
    for digit in (0, 1, 2):
        for speaker in ("theo", "lucas"):
            for number in range(12):
                time = np.arange(2400 + 40 * number) / 8000
                slope = (0, 4000, -4000)[digit]
                tone = np.sin(2 * np.pi * (1500 + slope * time) * time)
                sound = 0.3 * tone + 0.01 * rng.normal(size=len(time))
                write_wav(tmp_path / f"{digit}_{speaker}_{number}.wav", sound)
    return tmp_path


def test_official_parts_are_numbers_of_recordings(folder):
    data = SpokenDigits(folder, batch_size=4, stack=2).load(0)
    assert data.notes == ("Recordings: 12 (train), 30 (valid), 30 (test).",)
    batch = data.train_batch(0)
    assert batch.inputs.shape[2] == data.in_features == 160
    assert (batch.targets >= 0).sum(1).tolist() == [1] * 4
    found = data.baselines()
    assert found["hidden Markov model"]["accuracy"] > 0.9
    assert found["logistic regression"]["accuracy"] > 0.5


def test_tested_speaker_is_in_no_other_part(folder):
    data = SpokenDigits(folder, features="mfcc", test_speaker="theo", batch_size=4).load(0)
    assert data.notes == ("Recordings: 21 (train), 15 (valid), 36 (test).",)
    predicted = data.preparation.predict(
        lambda batch: np.eye(10)[np.full(batch.mask.shape, 7)], folder / "1_theo_3.wav", None
    )
    assert predicted.columns["file"].tolist() == ["1_theo_3.wav"]
    assert predicted.columns["predicted"].tolist() == ["7"]
    shown = data.preparation.predict(
        lambda batch: np.eye(10)[np.full(batch.mask.shape, 2)], None, None
    )
    assert "12 of 36" in shown.summary
    with pytest.raises(DataError, match="recording of the test part"):
        SpokenDigits(folder, test_speaker="george").load(0)


def test_archive_has_the_samples_of_its_files(folder, tmp_path):
    names, recordings, rate = read_spoken_digits(folder)
    samples = [np.round(x * 32768).astype(np.int16) for x in recordings]
    file = tmp_path / "digits.npz"
    deltas = np.diff(np.concatenate(samples), prepend=np.int16(0)).astype(np.int16)
    np.savez(
        file,
        samples_delta=deltas,
        lengths=list(map(len, samples)),
        names=[f"{x}.wav" for x in names],
    )
    again, read, same = read_spoken_digits(file)
    assert (again, same) == (names, rate)
    np.testing.assert_array_equal(np.concatenate(read), np.concatenate(recordings))


def test_files_that_are_not_recordings_of_digits_are_refused(folder, tmp_path):
    (folder / "1_theo_x.wav").write_bytes((folder / "1_theo_1.wav").read_bytes())
    with pytest.raises(DataError, match="1_theo_x"):
        SpokenDigits(folder).load(0)
    (folder / "1_theo_x.wav").unlink()
    write_wav(folder / "1_theo_1.wav", np.zeros(900), 16000)
    with pytest.raises(DataError, match="must have 8000 samples per second"):
        SpokenDigits(folder).load(0)
    np.savez(tmp_path / "bad.npz", names=["0_a_1.wav"])
    with pytest.raises(DataError, match=r"bad.npz.*copy the file again"):
        SpokenDigits(tmp_path / "bad.npz").load(0)


@pytest.mark.slow
@pytest.mark.skipif(not is_here("fsdd"), reason="FSDD is not in the data folder")
def test_hidden_markov_model_of_the_data_set_is_far_above_chance():
    data = SpokenDigits().load(0)
    assert data.notes == ("Recordings: 2400 (train), 300 (valid), 300 (test).",)
    assert data.baselines()["hidden Markov model"]["accuracy"] > 0.9
