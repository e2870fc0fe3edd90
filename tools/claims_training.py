"""Claims about what networks learn, for the table of claims."""

from claims_evidence import (
    Claim,
    current_command,
    mean_by_depth,
    metric_value,
    reported_by_cell,
    training_limits,
)
from committed_records import committed_records, ngram_nll

from rnnlab.registry import LABELS


def mamba_claim() -> Claim:
    """Language-model loss relative to Mamba."""
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
        + ", at equal width and updates; a Kneser-Ney n-gram: Shakespeare "
        f"{ngram_nll(original[0]):.3f}, other text {ngram_nll(second[0]):.3f}",
        training_limits([r for r in original + second if r["cell"] in cells])
        + f"; Mamba has {fraction:.0%} of minGRU's parameters",
        current_command(original),
        f"{file}, shakespeare_paper, {other}, ngram_baselines",
        "True in both settings by a small margin; the Mamba is smaller. An n-gram is better than "
        "all of them. Large models: open.",
    )


def short_memory_claim() -> Claim:
    """Memory of classic cells on the adding problem."""
    file = "adding_lengths"
    records = committed_records(file) + committed_records("adding")
    lengths = sorted({r["data"]["length"] for r in records})

    def errors(cell):
        by_length = {r["data"]["length"]: metric_value(r) for r in records if r["cell"] == cell}
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
        "Wrong as a constant. On this task, with untuned settings, the GRU learns every length and "
        "the LSTM only the shortest.",
    )


def eigenvalues_claim() -> Claim:
    """Gradients and the largest eigenvalue."""
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
        "True where the network is nearly linear. Saturation makes gradients vanish faster. At "
        "initialization gradients vanish least in the LSTM and most in the minimal cells.",
    )


def stacking_and_parallelism_claim() -> Claim:
    """Stacked layers, and parallel training."""
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
        "often stated about classic cells",
        "stacked: selective copying, accuracy by layers: "
        + ", ".join(f"{depth}: {x:.3f}" for depth, x in mean_by_depth(records).items()),
        f"in parallel: minGRU, length {longest:,}, two cores: {ms['associative']} ms per training "
        f"step by associative_scan, {ms['sequential']} ms by a loop",
        training_limits(records),
        current_command(records),
        f"{file}, speedup",
        "Stacking: wrong. Parallel: wrong for minimal cells; on two cores the loop is faster.",
    )


def selective_copying_claim() -> Claim:
    """Selective copying by number of layers."""
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
        "The effect of depth: true. 99% is not reached in this small setting.",
    )
