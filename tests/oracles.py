"""Float64 oracles: plain NumPy loops, written from the equations. Imports nothing from rnnlab."""

import numpy as np


def f64(*arrays):
    """The arrays in float64, or complex128 where they are complex."""
    return tuple(
        np.asarray(x).astype(np.complex128 if np.iscomplexobj(x) else np.float64) for x in arrays
    )


def relative_error(x, ref):
    """max|x - ref| / max|ref|; NaN and infinities in `x` count as infinite error."""
    x, ref = f64(x, ref)
    assert x.shape == ref.shape, f"shapes differ: {x.shape} and {ref.shape}"
    if ref.size == 0:
        return 0.0
    if not np.isfinite(x).all():
        return np.inf
    scale = np.abs(ref).max()
    return float(np.abs(x - ref).max() / (scale if scale > 0 else 1.0))


def order(length, reverse):
    return range(length - 1, -1, -1) if reverse else range(length)


# The linear recurrence


def linear_scan(a, b, h0=None, reset=None, reverse=False):
    """States of the loop; `a` may be (features,)."""
    a, b = f64(a, b)
    state = np.zeros(b.shape[:-2] + b.shape[-1:]) if h0 is None else f64(h0)[0]
    h = np.zeros(b.shape, np.result_type(a, b, state))
    a = np.broadcast_to(a, b.shape)
    for t in order(b.shape[-2], reverse):
        if reset is not None:
            state = np.where(np.asarray(reset)[..., t, None], 0.0, state)
        state = a[..., t, :] * state + b[..., t, :]
        h[..., t, :] = state
    return h


def linear_scan_gradients(a, b, h0, dh, reset=None, reverse=False):
    """Cotangents of a, b and h0, by walking the loop above backwards."""
    a, b, h0, dh = f64(a, b, h0, dh)
    h = linear_scan(a, b, h0, reset, reverse)
    da, db, g = np.zeros_like(a), np.zeros_like(b), np.zeros_like(h0)
    steps = list(order(b.shape[-2], reverse))
    for k in reversed(range(len(steps))):
        t = steps[k]
        before = h0 if k == 0 else h[..., steps[k - 1], :]
        g = g + dh[..., t, :]
        db[..., t, :] = g
        da[..., t, :] = g * before
        g = g * a[..., t, :]
        if reset is not None:
            cut = np.asarray(reset)[..., t, None]
            da[..., t, :] = np.where(cut, 0.0, da[..., t, :])
            g = np.where(cut, 0.0, g)
    return da, db, g


def numerical_gradient(f, x, dx=1e-6):
    """Central differences of a scalar function of one float64 array."""
    x = np.array(x, np.float64)
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        keep = x[i]
        x[i] = keep + dx
        up = f(x)
        x[i] = keep - dx
        grad[i] = (up - f(x)) / (2 * dx)
        x[i] = keep
    return grad


# Matrix states


def matrix_scan(
    q, k, v, log_decay, s0=None, beta=None, erase=None, sign=None, reset=None, mask=None
):
    """Outputs and the last state; with `beta`, of the delta rule. `log_decay` may lack features."""
    q, k, v = f64(q, k, v)
    decay = np.exp(f64(log_decay)[0]) * (1 if sign is None else f64(sign)[0])
    decay = decay if decay.ndim == k.ndim else decay[..., None]
    *batch, time, heads, values = v.shape
    shape = (*batch, heads, k.shape[-1], values)
    state = np.zeros(shape) if s0 is None else f64(s0)[0]
    o = np.zeros_like(v)
    for t in range(time):
        if reset is not None:
            state = np.where(np.asarray(reset)[..., t, None, None, None], 0.0, state)
        key, value = k[..., t, :, :], v[..., t, :, :]
        new = decay[..., t, :, :, None] * state
        if beta is not None:
            rate = f64(beta)[0][..., t, :, None]
            reading = (rate if erase is None else f64(erase)[0][..., t, :, :]) * key
            value = rate * value - np.einsum("...kv,...k->...v", new, reading)
        new = new + key[..., None] * value[..., None, :]
        keep = True if mask is None else np.asarray(mask)[..., t, None, None, None]
        state = np.where(keep, new, state)
        o[..., t, :, :] = np.einsum("...kv,...k->...v", state, q[..., t, :, :])
    return o, state


# The cells: one step each, from arXiv 2410.01201 and the classic definitions


def sigmoid(x):
    return np.exp(-np.logaddexp(0.0, -x))


def candidate(x, kind):
    if kind == "positive":
        return np.where(x >= 0, x + 0.5, sigmoid(x))
    return np.tanh(x) if kind == "tanh" else x


def decay_range(a, low):
    return a if low == 0 else 2 * a - 1


def mingru_step(p, h, x, kind="positive", low=0):
    z = sigmoid(x @ p["update_kernel"] + p["update_bias"])
    c = candidate(x @ p["candidate_kernel"] + p["candidate_bias"], kind)
    return decay_range(1 - z, low) * h + z * c


def minlstm_step(p, h, x, kind="positive", low=0, normalize=True):
    f = sigmoid(x @ p["forget_kernel"] + p["forget_bias"])
    i = sigmoid(x @ p["input_kernel"] + p["input_bias"])
    c = candidate(x @ p["candidate_kernel"] + p["candidate_bias"], kind)
    if normalize:
        f, i = f / (f + i), i / (f + i)
    return decay_range(f, low) * h + i * c


def block_dense(x, kernel, bias):
    """Each head's share of `x` times its own kernel."""
    parts = np.split(x, len(kernel), -1)
    return np.concatenate([x @ w for x, w in zip(parts, kernel, strict=True)], -1) + bias


def rglru_step(p, h, x):
    u = x @ p["input_kernel"]
    r = sigmoid(block_dense(u, p["recurrence_gate_kernel"], p["recurrence_gate_bias"]))
    i = sigmoid(block_dense(u, p["input_gate_kernel"], p["input_gate_bias"]))
    a = np.exp(-8 * r * np.logaddexp(0, p["rate"]))
    return a * h + np.sqrt(1 - a**2) * i * u


def rnn_step(p, h, x, activation="tanh"):
    pre = x @ p["kernel"] + h @ p["recurrent_kernel"] + p["bias"]
    return np.tanh(pre) if activation == "tanh" else np.maximum(pre, 0)


def gru_step(p, h, x, reset_after=True):
    width = h.shape[-1]
    pre = x @ p["kernel"] + p["bias"]
    u = p["recurrent_kernel"]
    r = sigmoid(pre[..., :width] + h @ u[:, :width])
    z = sigmoid(pre[..., width : 2 * width] + h @ u[:, width : 2 * width])
    if reset_after:
        inner = r * (h @ u[:, 2 * width :] + p["candidate_bias"])
    else:
        inner = (r * h) @ u[:, 2 * width :] + p["candidate_bias"]
    n = np.tanh(pre[..., 2 * width :] + inner)
    return (1 - z) * n + z * h


def lstm_step(p, carry, x):
    c, h = carry
    width = h.shape[-1]
    pre = x @ p["kernel"] + h @ p["recurrent_kernel"] + p["bias"]
    i, f, g, o = (pre[..., k * width : (k + 1) * width] for k in range(4))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(c)


def run_cell(step, params, carry, xs, initial=None, reset=None, mask=None):
    """Folds `step` over time with the contract's flags: reset first, then hold."""
    two = isinstance(carry, tuple)
    carry = carry if two else (carry,)
    initial = tuple(np.zeros_like(c) for c in carry) if initial is None else initial
    ys = []
    for t in range(xs.shape[-2]):
        x = xs[..., t, :]
        keep = np.ones(x.shape[:-1], bool) if mask is None else np.asarray(mask)[..., t]
        x = np.where(keep[..., None], x, 0.0)
        if reset is not None:
            cut = np.asarray(reset)[..., t, None]
            carry = tuple(np.where(cut, i, c) for i, c in zip(initial, carry, strict=True))
        new = step(params, carry if two else carry[0], x)
        new = new if two else (new,)
        carry = tuple(np.where(keep[..., None], n, c) for n, c in zip(new, carry, strict=True))
        ys.append(np.where(keep[..., None], carry[-1], 0.0))
    return (carry if two else carry[0]), np.stack(ys, -2)


# The baseline layers: one row of (time, features) from an empty carry


def first_steps(length, reset=None):
    """For each step the first one of its segment."""
    start, starts = 0, []
    for t in range(length):
        start = t if reset is not None and reset[t] else start
        starts.append(start)
    return starts


def rotary(x, position):
    """Features j and j + d/2 of a head as one complex number, turned."""
    half = x.shape[-1] // 2
    turned = [
        complex(x[j], x[half + j]) * np.exp(1j * position * 10000.0 ** (-2 * j / x.shape[-1]))
        for j in range(half)
    ]
    return np.array([z.real for z in turned] + [z.imag for z in turned])


def attention(kernel, xs, heads, context, reset=None):
    kernel, xs = f64(kernel, xs)
    q, k, v = np.split(xs @ kernel, 3, -1)
    width = q.shape[-1] // heads
    ys = np.zeros_like(q)
    for t, start in enumerate(first_steps(len(xs), reset)):
        seen = range(max(start, t - context + 1), t + 1)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            query = rotary(q[t, part], t)
            scores = [query @ rotary(k[s, part], s) / np.sqrt(width) for s in seen]
            weights = np.exp(scores - np.max(scores))
            weights = weights / weights.sum()
            ys[t, part] = sum(w * v[s, part] for w, s in zip(weights, seen, strict=True))
    return ys


def mamba(p, xs, reset=None):
    """Outputs and the last state. Parameters as nested dictionaries."""
    u, z = np.split(xs @ p["in_kernel"], 2, -1)
    features, states = p["log_rate"].shape
    rank = p["delta_kernel"].shape[0]
    h, ys = np.zeros((features, states)), np.zeros_like(u)
    for t, start in enumerate(first_steps(len(xs), reset)):
        if t == start:
            h = np.zeros_like(h)
        x = p["conv"]["bias"].copy()
        for k, tap in enumerate(p["conv"]["kernel"]):
            if t - k >= start:
                x += tap * u[t - k]
        x = x * sigmoid(x)
        d, b, c = np.split(x @ p["x_kernel"], [rank, rank + states])
        delta = np.log1p(np.exp(d @ p["delta_kernel"] + p["delta_bias"]))
        for f in range(features):
            for n in range(states):
                decay = np.exp(-delta[f] * np.exp(p["log_rate"][f, n]))
                h[f, n] = decay * h[f, n] + delta[f] * b[n] * x[f]
            y = h[f] @ c + p["skip"][f] * x[f]
            ys[t, f] = y * z[t, f] * sigmoid(z[t, f])
    return ys, h


def temporal_block(p, xs, dilation, reset=None):
    starts = first_steps(len(xs), reset)
    y = xs
    for name in ("first", "second"):
        kernel, scale, bias = (p[name][k] for k in ("kernel", "scale", "bias"))
        out = np.tile(bias, (len(xs), 1))
        for j in range(len(bias)):
            weights = scale[j] * kernel[:, :, j] / np.linalg.norm(kernel[:, :, j])
            for t, start in enumerate(starts):
                for k, tap in enumerate(weights):
                    if t - k * dilation >= start:
                        out[t, j] += tap @ y[t - k * dilation]
        y = np.maximum(out, 0)
    return np.maximum(xs + y, 0)
