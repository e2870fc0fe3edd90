"""The published claims about minimal and classic cells, and what the committed records show.

Command:  python tools/update_tables.py    (it writes the table of docs/claims.md)

Every measured number is computed from records.
"""

from collections.abc import Sequence
from typing import NamedTuple

from claims_evidence import (
    current_command,
    mean_by_depth,
    reported_by_cell,
    reported_value,
    timing_limits,
    training_limits,
)
from committed_records import committed_records, ngram_nll  # next to this file

from rnnlab.bench.scaling import exponent
from rnnlab.registry import LABELS
from rnnlab.tables import Table, device_labels, format_ratio

HEADINGS = (
    "claim",
    "original setting",
    "measured here, original setting",
    "measured here, against strongest baseline",
    "weakest link",
    "command",
    "records",
    "verdict",
)


class Claim(NamedTuple):
    """A table row, in the order of `HEADINGS`."""

    claim: str
    original_setting: str
    in_original_setting: str
    against_strongest_baseline: str
    weakest_link: str
    command: str
    records: str
    verdict: str


def claims_table() -> Table:
    """One table row per claim."""
    claims = _claims()
    files = dict.fromkeys(f for claim in claims for f in claim.records.split(", ") if f)
    used = [record for file in files for record in committed_records(file)]
    return Table(device_labels(used), HEADINGS, [tuple(claim) for claim in claims])


def _claims() -> Sequence[Claim]:
    return (
        _faster("mingru", "gru", 512, "175x"),
        _faster("minlstm", "lstm", 512, "235x"),
        _faster("mingru", "gru", 4096, '1324x ("three years become one day")'),
        _faster("minlstm", "lstm", 4096, "1361x"),
        Claim(
            "The GRU trains 175x faster",
            "often quoted so; in arXiv 2410.01201 it is minGRU's figure, and the GRU is what it is "
            "compared with",
            *[""] * 5,
            "Wrong: the plain GRU is the slow side of that comparison.",
        ),
        _parameters(),
        _mamba(),
        _transformer(),
        _constant_cost(),
        _short_memory(),
        _eigenvalues(),
        _batch_size(),
        _stacking_and_parallelism(),
        _selective_copying(),
        _log_space(),
    )


def _faster(minimal: str, classic: str, length: int, claimed: str) -> Claim:
    file = "speedup_paper_size"
    records = [r for r in committed_records(file) if (r["length"], r["pass"]) == (length, "train")]
    own = min(
        r["step_seconds"]
        for r in records
        if (r["cell"], r["implementation"]) == (minimal, "rnnlab")
    )
    ratios = {r["implementation"]: r["step_seconds"] / own for r in records if r["cell"] == classic}
    loop = ratios.pop("Python loop")
    fastest = min(ratios, key=ratios.get)
    sizes = f"batch {records[0]['batch_size']}, width {records[0]['width']}"
    return Claim(
        f"{LABELS[minimal]} trains {claimed} faster than the {LABELS[classic]} "
        f"at length {length:,}",
        "T4 GPU, batch 64, against a Python loop (arXiv 2410.01201, section 4.1)",
        f"{format_ratio(loop)}x, {sizes}, on a CPU; on a GPU: open",
        f"{format_ratio(ratios[fastest])}x against the fastest {LABELS[classic]} of this run, "
        f"{fastest}",
        timing_limits(records),
        current_command(records),
        file,
        "The direction is true on this CPU, also against the Python loop; the size is open: no GPU "
        "was measured.",
    )


def _parameters() -> Claim:
    file = "parameters"
    records = committed_records(file)
    fractions = {
        (r["cell"], r["features"] // r["in_features"]): r["parameters"] / r["classic_parameters"]
        for r in records
    }
    return Claim(
        "Up to 87% fewer parameters",
        "minGRU against GRU, the state 4 times as wide as the input (arXiv 2410.01201, 3.1.3)",
        f"{1 - fractions['mingru', 4]:.0%} fewer; minLSTM against LSTM "
        f"{1 - fractions['minlstm', 4]:.0%}",
        f"at equal widths {1 - fractions['mingru', 1]:.0%} and {1 - fractions['minlstm', 1]:.0%}",
        "bare cells: the block around a cell is not counted",
        current_command(records),
        file,
        "True of the bare cell in its setting; a block around it has parameters of its own.",
    )


def _mamba() -> Claim:
    file, other = "shakespeare", "char_lm"
    original, second = committed_records(file), committed_records(other)
    loss, second_loss = reported_by_cell(original), reported_by_cell(second)
    recipe_loss = reported_by_cell(committed_records("shakespeare_paper"))
    sizes = {r["cell"]: r["parameters"] for r in second}
    fraction = sizes["mamba"] / sizes["mingru"]
    cells = ("mingru", "minlstm", "mamba")
    return Claim(
        "Lower loss than Mamba",
        "Shakespeare, nats per character: minGRU 1.548, minLSTM 1.555, Mamba 1.575 (section 4.2)",
        "smaller models: "
        + ", ".join(f"{LABELS[c]} {loss[c]:.3f}" for c in cells)
        + f"; with the paper's recipe minGRU {recipe_loss['mingru']:.3f}, Mamba open",
        "another text: "
        + ", ".join(f"{LABELS[c]} {second_loss[c]:.3f}" for c in cells)
        + ", at equal width and updates; a Kneser-Ney n-gram reaches "
        f"{ngram_nll(original[0]):.3f} and {ngram_nll(second[0]):.3f}",
        training_limits([r for r in original + second if r["cell"] in cells])
        + f"; Mamba has {fraction:.0%} of minGRU's parameters",
        current_command(original),
        f"{file}, shakespeare_paper, {other}, ngram_baselines",
        "True in both settings, by a small margin against a smaller Mamba; an n-gram is better "
        "than all of them. Open for large models.",
    )


def _transformer() -> Claim:
    file = "scaling"
    records = [r for r in committed_records(file) if r["axis"] == "length"]
    by_layer = {n: [r for r in records if r["layer"] == n] for n in ("mingru", "transformer")}
    slopes = {n: exponent(rs, "temp_bytes") for n, rs in by_layer.items()}
    longest = max(r["length"] for r in by_layer["transformer"] if r["step_seconds"])
    at = {n: next(r for r in rs if r["length"] == longest) for n, rs in by_layer.items()}
    ratio = at["transformer"]["step_seconds"] / at["mingru"]["step_seconds"]
    return Claim(
        "Far cheaper than Transformers, whose memory grows quadratically",
        "argument, without a number",
        f"memory of a training step grows as length to the power {slopes['transformer']:.2f}, and "
        f"{slopes['mingru']:.2f} for minGRU",
        f"{format_ratio(ratio)}x the time at length {longest:,}: a Transformer layer with its MLP "
        "against a bare cell of equal width",
        timing_limits(records) + "; attention is not a fused kernel",
        current_command(records),
        file,
        "True of attention as it is written here; a fused kernel would keep the quadratic time "
        "and not the quadratic memory.",
    )


def _constant_cost() -> Claim:
    file = "streaming"
    records = [r for r in committed_records(file) if r["cell"] == "mingru" and r["batch_size"] == 1]
    first, last = records[0], records[-1]
    return Claim(
        "Constant memory and time per step at inference",
        "argument",
        f"after {first['length']:,} and {last['length']:,} tokens: "
        f"{1e6 * first['seconds'] / first['length']:.1f} and "
        f"{1e6 * last['seconds'] / last['length']:.1f} µs per token, "
        f"{first['state_bytes']:,} and {last['state_bytes']:,} bytes of state",
        "the same holds for every recurrent cell, old or new, and for attention over a window",
        timing_limits(records),
        current_command(records),
        file,
        "True, and true of every recurrent network.",
    )


def _short_memory() -> Claim:
    file = "adding_lengths"
    records = committed_records(file) + committed_records("adding")
    lengths = sorted({r["data"]["length"] for r in records})

    def errors(cell):
        by_length = {r["data"]["length"]: reported_value(r) for r in records if r["cell"] == cell}
        return ", ".join(f"{by_length[n]:.4f}" for n in lengths if n in by_length)

    baseline = records[0]["baselines"]["constant"]["mse"]
    return Claim(
        "Vanilla RNNs remember about 50 steps, LSTM and GRU thousands",
        "rule of thumb",
        f"adding problem at {', '.join(map(str, lengths))} steps, mean squared error: RNN "
        f"{errors('rnn')}; GRU {errors('gru')}; LSTM {errors('lstm')} (constant prediction: "
        f"{baseline:.4f})",
        f"minGRU {errors('mingru')} with the same settings",
        training_limits(records),
        current_command(records),
        f"{file}, adding",
        "It depends on task, training and initialization more than on the cell: not a constant.",
    )


def _eigenvalues() -> Claim:
    file = "gradients"
    records = committed_records(file)

    def factors(scale):
        chosen = [r for r in records if r["cell"].startswith("rnn") and r["input_size"] == scale]
        return ", ".join(f"{r['rate']:.3f}" for r in chosen)

    gated = {r["cell"]: r["rate"] for r in records if not r["cell"].startswith("rnn")}
    scales = sorted({r["input_size"] for r in records})
    return Claim(
        "Gradients vanish or explode with the largest eigenvalue",
        "linear networks (arXiv 1211.5063)",
        "Elman RNN of spectral radius 0.9, 1.0, 1.1 with inputs near 0: a gradient factor of "
        f"{factors(scales[0])} per step",
        f"with inputs of scale 1: {factors(scales[-1])}; "
        + ", ".join(f"{LABELS[c]} {gated[c]:.3f}" for c in ("lstm", "gru", "mingru", "minlstm")),
        f"one seed; cells as initialized, {records[0]['width']} features, random inputs",
        current_command(records),
        file,
        "True where the network is nearly linear; saturation makes gradients vanish faster. As "
        "initialized the LSTM's vanish least and the minimal cells' most: gates help by what they "
        "learn.",
    )


def _batch_size() -> Claim:
    file = "scaling"
    records = [r for r in committed_records(file) if r["axis"] == "batch"]

    def gain(layer):
        speed = {r["batch_size"]: r["tokens_per_second"] for r in records if r["layer"] == layer}
        return f"{LABELS[layer]} {format_ratio(speed[32] / speed[1])}x"

    return Claim(
        "A batch of 32 processes 14x the tokens per second of a batch of 1",
        "quoted for recurrent networks on GPUs",
        "on a CPU: " + ", ".join(map(gain, ("rnn", "gru", "lstm"))),
        ", ".join(map(gain, ("mingru", "minlstm"))),
        timing_limits(records),
        current_command(records),
        file,
        "Open on a GPU; on two cores a larger batch gains less, and slows a minimal cell a little.",
    )


def _stacking_and_parallelism() -> Claim:
    file = "selective_copying"
    records = committed_records(file)
    speed = [r for r in committed_records("speedup") if r["pass"] == "train"]
    longest = max(r["length"] for r in speed)
    ms = {
        r["backend"]: f"{1e3 * r['step_seconds']:.0f}"
        for r in speed
        if (r["cell"], r["implementation"], r["length"]) == ("mingru", "rnnlab", longest)
    }
    return Claim(
        "Recurrent networks cannot be stacked or run in parallel",
        "a common statement about classic cells",
        "stacked: selective copying, accuracy by layers: "
        + ", ".join(f"{depth}: {x:.3f}" for depth, x in mean_by_depth(records).items()),
        f"in parallel: minGRU by associative_scan and by a loop, length {longest:,}: "
        f"{ms['associative']} and {ms['sequential']} ms per training step on two cores",
        training_limits(records),
        current_command(records),
        f"{file}, speedup",
        "Wrong of stacking. Minimal cells do run in parallel; whether that is faster depends on "
        "the device.",
    )


def _selective_copying() -> Claim:
    file = "selective_copying"
    records = committed_records(file)
    baseline = records[0]["baselines"]["uniform"]["accuracy"]
    return Claim(
        "A minimal cell solves selective copying with depth",
        "1, 2, 3 layers at length 4096: 37%, 86%, 99.5% (arXiv 2410.01201, table 1)",
        "length 4096: open",
        f"length {records[0]['data']['length']}: "
        + ", ".join(f"{x:.1%}" for x in mean_by_depth(records).values())
        + f" with 1, 2, 3 layers (uniform guess: {baseline:.1%})",
        training_limits(records),
        current_command(records),
        file,
        "The effect of depth is as claimed; this small setting does not reach 99%.",
    )


def _log_space() -> Claim:
    file = "scan_accuracy"
    records = [
        r for r in committed_records(file) if (r["gates"], r["dtype"]) == ("N(0, 1)", "float32")
    ]
    longest = max(r["length"] for r in records)
    error = {r["form"]: f"{r['relative_error']:.0e}" for r in records if r["length"] == longest}
    return Claim(
        "Numerical stability requires log space",
        "argument (arXiv 2410.01201, section 3.1)",
        f"relative error at {longest:,} steps, float32: the published log form "
        f"{error['published log form']}",
        f"real space {error['sequential']} by a loop, {error['associative']} in parallel; log "
        f"pairs {error['log pairs']}",
        "one seed of random decays and inputs",
        current_command(records),
        file,
        "Not true. The error of the published form grows with the length where states forget; "
        "that of log pairs and of real space does not.",
    )
