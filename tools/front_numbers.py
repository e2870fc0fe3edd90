"""The three numbers of the front page and of the README, computed from committed records."""

from claims_cost import speed_factors  # next to this file
from claims_evidence import reported_by_cell
from committed_records import committed_records, ngram_nll

from rnnlab.registry import LABELS
from rnnlab.tables import format_ratio


def numbers() -> str:
    """Returns one list item per number: speed, loss and reliability."""
    return "\n".join(f"- **{number}** {text}" for number, text in (_speed(), _loss(), _kills()))


def _speed() -> tuple[str, str]:
    length = 4096
    loops, ratios, names = {}, {}, {}
    for device, file in (("GPU", "gpu_speedup"), ("CPU", "speedup_paper_size")):
        records = [
            r for r in committed_records(file) if (r["length"], r["pass"]) == (length, "train")
        ]
        loops[device], ratios[device], names[device] = speed_factors(records, "mingru", "gru")
        names[device] += f" on {_device(records[0])}"
    return (
        f"{format_ratio(ratios['GPU'])} times as fast:",
        f"a training step of minGRU at length {length:,}, against the fastest GRU "
        f"({names['GPU']}). On a CPU the factor is {format_ratio(ratios['CPU'])} ({names['CPU']}). "
        f"Against a Python loop, as in the paper, the factor is {loops['GPU']:,.0f} on the GPU and "
        f"{format_ratio(loops['CPU'])} on the CPU.",
    )


def _device(record) -> str:
    if record["platform"] == "cpu":
        return f"{record['cores']} cores"
    return f"one {record['device'].removeprefix('NVIDIA ')}"


def _loss() -> tuple[str, str]:
    records = committed_records("char_lm")
    loss = reported_by_cell(records)
    best = min(loss, key=loss.get)
    gap = loss[best] - ngram_nll(records[0])
    relation = "above" if gap > 0 else "below"
    return (
        f"{loss[best]:.2f} nats per character:",
        f"{LABELS[best]}, the lowest loss of {len(loss)} models on Python's reference text (GRU "
        f"{loss['gru']:.2f}, Transformer {loss['transformer']:.2f}, Mamba {loss['mamba']:.2f}). It "
        f"is {abs(gap):.2f} nats {relation} that of an n-gram.",
    )


def _kills() -> tuple[str, str]:
    (kills,) = [r for r in committed_records("reliability") if r["part"] == "kills"]
    return (
        f"{kills['failures']} of {kills['trials']} killed runs lost a saved step:",
        "each was resumed and ended with the same bytes as an uninterrupted run.",
    )
