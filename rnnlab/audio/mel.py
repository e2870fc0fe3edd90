"""The mel scale: triangular filters on the power spectrum, and cepstral coefficients."""

import numpy as np


def to_mel(hertz: np.ndarray | float) -> np.ndarray | float:
    """Returns the pitch in mel, `1127 log(1 + f / 700)`.

    >>> round(float(to_mel(1000.0)))
    1000
    """
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def mel_filters(
    num_mels: int, fft_length: int, rate: float, low_hz: float, high_hz: float
) -> np.ndarray:
    """Returns triangular filters that are equally wide in mel, as Kaldi's.

    Filter m is 1 at the m-th of `num_mels` centers between the two frequencies, and falls to 0 at
    the centers next to it, linearly in mel.

    Args:
      num_mels: number of filters.
      fft_length: samples of the Fourier transform.
      rate: samples per second.
      low_hz, high_hz: where the first filter starts and the last one ends.

    Returns:
      (num_mels, fft_length / 2 + 1) float64, weights of the power spectrum. That of the highest
      frequency is 0, as in Kaldi.

    >>> mel_filters(2, 8, 8000, 0, 4000).round(2).tolist()
    [[0.0, 0.6, 0.0, 0.0, 0.0], [0.0, 0.4, 0.87, 0.38, 0.0]]
    """
    bins = to_mel(np.arange(fft_length // 2) * rate / fft_length)
    edges = np.linspace(to_mel(low_hz), to_mel(high_hz), num_mels + 2)
    left, center, right = (edges[k : k + num_mels, None] for k in range(3))
    rising, falling = (bins - left) / (center - left), (right - bins) / (right - center)
    return np.pad(np.maximum(np.minimum(rising, falling), 0), ((0, 0), (0, 1)))


def cepstral_matrix(num_coefficients: int, num_mels: int, lifter: float) -> np.ndarray:
    """Returns the matrix from log filter energies to liftered cepstral coefficients.

        C[k, m] = lift[k] s[k] cos(pi k (m + 1/2) / num_mels)
        lift[k] = 1 + lifter / 2 sin(pi k / lifter),  s[0] = sqrt(1 / num_mels), else sqrt(2 / ...)

    Args:
      num_coefficients: rows.
      num_mels: columns.
      lifter: of the sine that raises higher coefficients; 0 omits it.

    >>> cepstral_matrix(2, 4, 0).round(3).tolist()
    [[0.5, 0.5, 0.5, 0.5], [0.653, 0.271, -0.271, -0.653]]
    """
    k, m = np.arange(num_coefficients)[:, None], np.arange(num_mels)[None]
    matrix = np.sqrt(2 / num_mels) * np.cos(np.pi / num_mels * k * (m + 0.5))
    matrix[0] = np.sqrt(1 / num_mels)
    if lifter:
        matrix *= 1 + lifter / 2 * np.sin(np.pi * k / lifter)
    return matrix
