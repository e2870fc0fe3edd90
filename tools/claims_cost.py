"""Claims about speed, size and accuracy, for the table of claims."""

from collections.abc import Sequence

from claims_evidence import Claim, current_command, timing_limits
from committed_records import committed_records

from rnnlab.bench.scaling import exponent
from rnnlab.records import Record
from rnnlab.registry import LABELS
from rnnlab.tables import format_ratio


def faster_claim(minimal: str, classic: str, length: int, claimed: str) -> Claim:
    """Training speed relative to the classic cell, on a GPU and on a CPU."""
    files = {"GPU": "gpu_speedup", "CPU": "speedup_paper_size"}
    records, loops, fastest = {}, [], []
    for device, file in files.items():
        records[device] = [
            r for r in committed_records(file) if (r["length"], r["pass"]) == (length, "train")
        ]
        loop, ratio, implementation = speed_factors(records[device], minimal, classic)
        loops.append(f"{format_ratio(loop)}x on a {device}")
        fastest.append(f"{format_ratio(ratio)}x on a {device} ({implementation})")
    sizes = f"batch {records['GPU'][0]['batch_size']}, width {records['GPU'][0]['width']}"
    return Claim(
        f"{LABELS[minimal]} trains {claimed} faster than the {LABELS[classic]} "
        f"at length {length:,}",
        "T4 GPU, batch 64, against a Python loop (arXiv 2410.01201, section 4.1)",
        f"against a Python loop, {sizes}: {', '.join(loops)}",
        f"against the fastest {LABELS[classic]} of the same run: {', '.join(fastest)}",
        timing_limits([r for found in records.values() for r in found]),
        ", ".join(map(current_command, records.values())),
        ", ".join(files.values()),
        "True over a Python loop on a GPU, in order of magnitude. Over the fastest classic cell "
        "the factor is far smaller.",
    )


def speed_factors(
    records: Sequence[Record], minimal: str, classic: str
) -> tuple[float, float, str]:
    """Times of a Python loop and of the fastest classic cell over the minimal cell's, and which."""
    own = min(
        r["step_seconds"]
        for r in records
        if (r["cell"], r["implementation"]) == (minimal, "rnnlab")
    )
    ratios = {r["implementation"]: r["step_seconds"] / own for r in records if r["cell"] == classic}
    loop = ratios.pop("Python loop")
    fastest = min(ratios, key=ratios.get)
    return loop, ratios[fastest], fastest


def parameters_claim() -> Claim:
    """Number of parameters relative to the classic cell."""
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
        "True for a bare cell in that setting. A block around the cell adds parameters.",
    )


def transformer_claim() -> Claim:
    """Cost relative to a Transformer layer."""
    file = "scaling"
    records = [r for r in committed_records(file) if r["axis"] == "length"]
    by_layer = {n: [r for r in records if r["layer"] == n] for n in ("mingru", "transformer")}
    slopes = {n: exponent(rs, "temp_bytes") for n, rs in by_layer.items()}
    longest = max(r["length"] for r in by_layer["transformer"] if r["step_seconds"])
    at = {n: next(r for r in rs if r["length"] == longest) for n, rs in by_layer.items()}
    ratio = at["transformer"]["step_seconds"] / at["mingru"]["step_seconds"]
    return Claim(
        "Far cheaper than Transformers, whose memory grows quadratically",
        "stated without a measurement",
        f"memory of a training step grows as length to the power {slopes['transformer']:.2f}; "
        f"for minGRU to the power {slopes['mingru']:.2f}",
        f"{format_ratio(ratio)}x the time at length {longest:,}: a Transformer layer with its MLP "
        "against a bare cell of equal width",
        timing_limits(records) + "; attention is not a fused kernel",
        current_command(records),
        file,
        "True for unfused attention. A fused kernel has quadratic time and linear memory.",
    )


def constant_cost_claim() -> Claim:
    """Cost per time step at inference."""
    file = "streaming"
    records = [r for r in committed_records(file) if r["cell"] == "mingru" and r["batch_size"] == 1]
    first, last = records[0], records[-1]
    return Claim(
        "Constant memory and time per step at inference",
        "stated without a measurement",
        f"after {first['length']:,} and {last['length']:,} tokens: "
        f"{1e6 * first['seconds'] / first['length']:.1f} and "
        f"{1e6 * last['seconds'] / last['length']:.1f} µs per token, "
        f"{first['state_bytes']:,} and {last['state_bytes']:,} bytes of state",
        "the same holds for every recurrent cell and for attention over a window",
        timing_limits(records),
        current_command(records),
        file,
        "True for every recurrent network.",
    )


def batch_size_claim() -> Claim:
    """Throughput gained by a batch."""
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
        "On a GPU: open. On two cores a larger batch gains less for classic cells and slows "
        "minimal cells.",
    )


def log_space_claim() -> Claim:
    """Accuracy of the log-space form."""
    file = "scan_accuracy"
    records = [
        r for r in committed_records(file) if (r["gates"], r["dtype"]) == ("N(0, 1)", "float32")
    ]
    longest = max(r["length"] for r in records)
    error = {r["form"]: f"{r['relative_error']:.0e}" for r in records if r["length"] == longest}
    return Claim(
        "Numerical stability requires log space",
        "stated without a measurement (arXiv 2410.01201, section 3.1)",
        f"relative error at {longest:,} steps, float32: the published log form "
        f"{error['published log form']}",
        f"real space {error['sequential']} by a loop, {error['associative']} in parallel; log "
        f"pairs {error['log pairs']}",
        "one seed of random decays and inputs",
        current_command(records),
        file,
        "Wrong. With decays of N(0, 1) the error of the published form grows with the length. The "
        "errors of log pairs and of real space do not.",
    )
