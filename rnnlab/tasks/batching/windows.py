"""Windows of long sequences."""

from rnnlab.validation import require_positive_int


def window_slices(size: int, length: int, stride: int) -> list[slice]:
    """Returns windows that start every `stride` time steps and together cover a sequence.

    Args:
      size: time steps of the sequence.
      length: time steps of a window; the last one may have fewer.
      stride: time steps between starts, at most `length`.

    >>> [(window.start, window.stop) for window in window_slices(7, length=4, stride=2)]
    [(0, 4), (2, 6), (4, 7)]
    """
    require_positive_int(length=length, stride=stride)
    starts = range(0, max(size - (length - stride), 1), stride)
    return [slice(start, min(start + length, size)) for start in starts]
