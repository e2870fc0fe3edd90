"""Mel energies and MFCC against Kaldi's, and streams cut anywhere against whole signals."""

import numpy as np
import pytest

from rnnlab.audio import (
    Chain,
    Differences,
    FrameStacking,
    FrontEnd,
    RunningMeanNormalization,
    subtract_mean,
)
from rnnlab.audio.framing import WINDOWS, Framing, window

SIGNAL = np.random.default_rng(0).normal(size=3001) * 0.1 + np.sin(np.arange(3001) / 5) * 0.3


def streamed(transform, xs, seed=0, pieces=40):
    """The outputs for a sequence in pieces at random places, some of them empty."""
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(xs) + 1, pieces))
    stream = transform.stream()
    outputs = [stream.push(piece) for piece in np.split(xs, cuts)]
    return np.concatenate([*outputs, stream.finish()])


def kaldi_features(front_end, signal):
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions() if front_end.features == "mel" else knf.MfccOptions()
    frames, mel = options.frame_opts, options.mel_opts
    frames.samp_freq, frames.dither = front_end.rate, 0
    frames.frame_length_ms, frames.frame_shift_ms = front_end.length_ms, front_end.shift_ms
    names = {"hann": "hanning"}
    frames.window_type = names.get(front_end.window, front_end.window)
    frames.preemph_coeff, frames.snip_edges = front_end.preemphasis, front_end.snip_edges
    mel.num_bins, mel.low_freq = front_end.num_mels, front_end.low_hz
    mel.high_freq = front_end.high_hz or 0
    if front_end.features == "mfcc":
        options.use_energy, options.num_ceps = False, front_end.num_coefficients
        options.cepstral_lifter = front_end.lifter
        online = knf.OnlineMfcc(options)
    else:
        online = knf.OnlineFbank(options)
    online.accept_waveform(front_end.rate, (signal * 32768).tolist())
    online.input_finished()
    return np.stack([online.get_frame(k) for k in range(online.num_frames_ready)])


@pytest.mark.parametrize(
    "front_end",
    [
        FrontEnd(),
        FrontEnd(window="hann", snip_edges=False),
        FrontEnd(8000, "mfcc", num_mels=23, high_hz=3700.0),
        FrontEnd(11025, "mfcc", window="hamming", preemphasis=0.0, lifter=0.0, snip_edges=False),
        FrontEnd(16000, num_mels=13, window="rectangular", length_ms=20.0, low_hz=130.0),
    ],
    ids=lambda front_end: f"{front_end.rate} {front_end.features} {front_end.window}",
)
def test_features_equal_those_of_kaldi(front_end):
    expected = kaldi_features(front_end, SIGNAL)
    found = front_end(SIGNAL)
    assert found.shape == expected.shape
    # Kaldi computes in float32: mel energies near 0 have large logarithms.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=5e-3)
    np.testing.assert_allclose(streamed(front_end, SIGNAL), found, rtol=1e-6, atol=1e-6)


def test_signal_of_int16_has_the_features_of_its_floats():
    samples = np.round(SIGNAL * 32767).astype(np.int16)
    front_end = FrontEnd(8000)
    floats = (samples / 32768).astype(np.float32)
    np.testing.assert_array_equal(front_end(samples), front_end(floats))


@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize(("length", "shift"), [(7, 3), (8, 8), (5, 2)])
def test_frames_of_short_signals_equal_a_loop(length, shift, snip_edges):
    framing = Framing(length, shift, snip_edges)
    for size in [*range(1, 20), 41]:
        signal = np.arange(float(size))
        first = 0 if snip_edges else shift // 2 - length // 2
        expected = []
        for k in range(framing.count(size)):
            at = first + k * shift + np.arange(length)
            while ((at < 0) | (at >= size)).any():  # mirrored, maybe several times
                at = np.where(at < 0, -at - 1, at)
                at = np.where(at >= size, 2 * size - 1 - at, at)
            expected.append(signal[at])
        expected = np.reshape(expected, (-1, length))
        np.testing.assert_array_equal(framing(signal), expected)
        np.testing.assert_array_equal(streamed(framing, signal, size, 6), expected)


def test_chain_of_transforms_streams_to_the_same_bits():
    xs = np.random.default_rng(1).normal(size=(50, 4))
    normalized = RunningMeanNormalization((0.5, 0.0, 1.0, 2.0), weight=10)
    chain = Chain((normalized, Differences(2), FrameStacking(3)))
    whole = chain(xs)
    assert whole.shape == (17, 24)
    for seed in range(5):
        np.testing.assert_array_equal(streamed(chain, xs, seed), whole)
    # By plain loops: the running mean, then the slope of the middle frame of the second group.
    totals = 10 * np.array([0.5, 0, 1, 2]) + np.cumsum(xs, axis=0)
    centered = xs - totals / (10 + np.arange(1, 51))[:, None]
    slope = (centered[5] - centered[3] + 2 * (centered[6] - centered[2])) / 10
    group = whole[1].reshape(4, 2, 3)
    np.testing.assert_allclose(group[:, 0], centered[3:6].T, atol=1e-12)
    np.testing.assert_allclose(group[:, 1, 1], slope, atol=1e-12)
    np.testing.assert_array_equal(chain(xs[:1])[0, :3], np.repeat(centered[0, 0], 3))


def test_running_mean_of_weight_zero_ends_at_the_mean_of_the_utterance():
    xs = np.random.default_rng(2).normal(size=(30, 3))
    running = RunningMeanNormalization((9.0, 9.0, 9.0), weight=0)(xs)
    np.testing.assert_allclose(running[-1], subtract_mean(xs)[-1], atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"high_hz": 9000.0}, "high_hz"),
        ({"window": "round"}, "window"),
        ({"features": "mfcc", "num_coefficients": 41}, "num_coefficients"),
        ({"length_ms": 0.01}, "length_ms"),
        ({"shift_ms": 0.0}, "shift"),
        ({"shift_ms": 30.0, "snip_edges": False}, "length"),
    ],
)
def test_front_end_with_wrong_settings_names_them(settings, named):
    with pytest.raises(ValueError, match=named):
        FrontEnd(**settings)


def test_samples_of_other_kinds_are_refused():
    for samples in (np.zeros((2, 3)), np.zeros(4, np.int64)):
        with pytest.raises(ValueError, match="samples must be"):
            FrontEnd()(samples)


def test_every_window_ends_as_it_starts():
    for name in WINDOWS:
        np.testing.assert_allclose(window(name, 9), window(name, 9)[::-1], atol=1e-15)
