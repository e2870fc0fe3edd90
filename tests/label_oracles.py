"""Oracles of losses and decoders of label sequences, in float64 and without rnnlab."""

import itertools

import numpy as np


def transducer_paths(time, labels):
    """Yields every path through the lattice as a list of (t, u, is_blank)."""
    for emits in itertools.combinations(range(time + labels - 1), labels):
        t = u = 0
        path = []
        for k in range(time + labels):
            is_blank = k not in emits
            path.append((t, u, is_blank))
            t, u = (t + 1, u) if is_blank else (t, u + 1)
        yield path


def transducer_by_paths(blank, emit):
    """Returns the loss of one example and the posteriors of its arcs, by enumeration."""
    time, labels = emit.shape
    paths = list(transducer_paths(time, labels))
    scores = np.array(
        [sum(blank[t, u] if is_blank else emit[t, u] for t, u, is_blank in p) for p in paths]
    )
    total = np.logaddexp.reduce(scores)
    by_blank, by_emit = np.zeros_like(blank), np.zeros_like(emit)
    for path, score in zip(paths, scores, strict=True):
        for t, u, is_blank in path:
            (by_blank if is_blank else by_emit)[t, u] += np.exp(score - total)
    return -total, by_blank, by_emit


def transducer_forward_backward(blank, emit):
    """Returns the loss of one example and the posteriors of its arcs, by Graves' two recursions."""
    time, labels = emit.shape
    alpha = np.full((time + 1, labels + 1), -np.inf)
    beta = np.full((time + 1, labels + 1), -np.inf)
    alpha[0, 0] = beta[time, labels] = 0
    for t in range(time):
        for u in range(labels + 1):
            alpha[t + 1, u] = np.logaddexp(alpha[t + 1, u], alpha[t, u] + blank[t, u])
            if u < labels:
                alpha[t, u + 1] = np.logaddexp(alpha[t, u + 1], alpha[t, u] + emit[t, u])
    for t in reversed(range(time)):
        for u in reversed(range(labels + 1)):
            beta[t, u] = beta[t + 1, u] + blank[t, u]
            if u < labels:
                beta[t, u] = np.logaddexp(beta[t, u], beta[t, u + 1] + emit[t, u])
    total = beta[0, 0]
    by_blank = np.exp(alpha[:-1] + blank + beta[1:] - total)
    by_emit = np.exp(alpha[:-1, :-1] + emit + beta[:-1, 1:] - total)
    return -total, by_blank, by_emit


def collapse(classes):
    """Returns the labels of a CTC alignment."""
    return tuple(c for k, c in enumerate(classes) if c and (k == 0 or classes[k - 1] != c))


def ctc_by_alignments(log_probs):
    """Returns the probability of every sequence of labels that an example may have."""
    time, classes = log_probs.shape
    found = {}
    for alignment in itertools.product(range(classes), repeat=time):
        p = np.exp(log_probs[np.arange(time), alignment].sum())
        found[collapse(alignment)] = found.get(collapse(alignment), 0) + p
    return found


def log_softmax(x):
    """Returns log probabilities over the last axis."""
    x = np.asarray(x, np.float64)
    return x - np.logaddexp.reduce(x, -1, keepdims=True)
