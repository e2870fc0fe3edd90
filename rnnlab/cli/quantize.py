"""`rnnlab quantize`: a bundle whose weights are integers of few bits."""

from collections.abc import Mapping
from typing import Any

from rnnlab.bundle.encodings import Integers
from rnnlab.bundle.writing import require_free
from rnnlab.cli.deploy_commands import Quantize
from rnnlab.compress.bundles import Source, open_source, write_quantized
from rnnlab.compress.fine_tune import fine_tune, tuning_config
from rnnlab.compress.quantize import leaf_encodings, quantize, sensitivity
from rnnlab.models import SequenceModel
from rnnlab.models.parameters import named_parameters
from rnnlab.tables import Table, print_table, print_text
from rnnlab.train.callbacks import Reporter


def run(command: Quantize) -> int:
    """Prints the sizes, the losses and the sensitivities, and writes a bundle. Returns 0.

    Raises:
      BundleError: the bundle is invalid.
      CheckpointError: there is no run, or no valid checkpoint.
      ValueError: an option is out of range, a pattern fits no weight, or the folder exists.
    """
    options = {
        "group": command.group,
        "keep": _split(command.keep),
        "leaf_bits": _leaf_bits(command.leaf_bits),
    }
    with open_source(command.folder, command.run) as source:
        if command.tune_steps and source.data is None:
            raise ValueError(
                "tune_steps must be 0 without data, got "
                f"{command.tune_steps}; name the run of the bundle by --run"
            )
        out = command.out or source.out(f"int{command.bits}")
        require_free(out, command.overwrite)
        whole = model = source.bundle.model()
        encodings = leaf_encodings(model, command.bits, **options)
        if command.tune_steps:
            config = tuning_config(source.train, command.tune_steps)
            reporter = Reporter(log=print)
            model = fine_tune(model, source.data, config, encodings=encodings, reporter=reporter)
        small = quantize(model, command.bits, **options)
        before = sum(4 * x.size for x in named_parameters(whole).values())
        about: dict[str, Any] = {
            "bits": command.bits,
            "bytes": small.nbytes,
            "bytes_of_float32": before,
            "updates": command.tune_steps,
        }
        if source.data is not None:
            about |= _losses(source, whole, small.model)
            if command.sensitivity:
                _print_sensitivity(source, model, encodings)
        _print_sizes(about)
        written = write_quantized(out, source, small, about, overwrite=command.overwrite)
    print("Written:", written.path)
    return 0


def _losses(source: Source, whole: SequenceModel, small: SequenceModel) -> dict[str, float]:
    """Returns the first metric of the data before and after, on the evaluation set reported."""
    part, metric = list(source.data.eval_sets)[-1], source.data.metrics[0]
    return {
        f"{part}_{metric}": source.metric(small, part),
        f"{part}_{metric}_of_float32": source.metric(whole, part),
    }


def _print_sizes(about: Mapping[str, Any]) -> None:
    ratio = about["bytes_of_float32"] / about["bytes"]
    names = [name for name in about if name.endswith("_of_float32") and name[:5] != "bytes"]
    headings = ("weights", "bytes", "smaller", *(n.removesuffix("_of_float32") for n in names))
    headings = tuple(heading.replace("_", " ") for heading in headings)
    before = ("float32", f"{about['bytes_of_float32']:,}", "1.00x")
    after = (f"int{about['bits']}", f"{about['bytes']:,}", f"{ratio:.2f}x")
    lines = [
        (*before, *(f"{about[name]:.4f}" for name in names)),
        (*after, *(f"{about[name.removesuffix('_of_float32')]:.4f}" for name in names)),
    ]
    print_table(Table("", headings, lines))
    if not names:
        print_text("The loss is not measured without data: name a run on it by --run.")


def _print_sensitivity(
    source: Source, model: SequenceModel, encodings: Mapping[str, Integers]
) -> None:
    """Prints by how much the metric changes when one weight is quantized and no other."""
    part, metric = next(iter(source.data.eval_sets)), source.data.metrics[0]
    changes = sensitivity(model, source.metric, encodings)
    lines = [
        (name, str(encodings[name].bits), f"{change:+.5f}")
        for name, change in sorted(changes.items(), key=lambda pair: -abs(pair[1]))
    ]
    print_table(Table("", ("weight", "bits", f"change of {part} {metric}"), lines))


def _split(words: str | None) -> list[str]:
    return words.split(",") if words else []


def _leaf_bits(words: str | None) -> dict[str, int]:
    """Returns bits by pattern from words such as "head=8,embedding=6"."""
    found = {}
    for word in _split(words):
        pattern, _, bits = word.partition("=")
        if not pattern or not bits.isdigit():
            raise ValueError(f"leaf-bits must be NAME=BITS, as in head=8, got {word!r}; correct it")
        found[pattern] = int(bits)
    return found
