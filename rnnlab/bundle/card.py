"""The card of a bundle: what the model is, what it was measured on, and what it was not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnnlab.bundle.description import Description
from rnnlab.bundle.reference import Reference
from rnnlab.tasks.wording import counted, shortened

UNKNOWN = "not stated"
PACKAGES = ("rnnlab", "jax", "jaxlib", "flax", "optax", "numpy")
"""Packages that computed the parameters."""
RESULTS = "## Results"


def card(
    description: Description, reference: Reference | None, *, parameters: int, state_bytes: int
) -> str:
    """Returns the card of a model, Markdown.

    Args:
      description: of the model, whose source is that of `rnnlab.bundle.run_bundle.source_of`.
      reference: statistics of its held-out data.
      parameters: number of parameters.
      state_bytes: bytes of the state of one stream.
    """
    source, config = description.source, description.config
    size = f"{parameters:,} parameters, {state_bytes:,} bytes of state per stream"
    rows = [
        ("Question", source.get("question")),
        ("License", source.get("license")),
        ("Model", f"{config.cell}, width {config.width}, depth {config.depth}: {size}"),
        ("Inputs", _inputs(description)),
        ("Outputs", _outputs(description)),
        (
            "Task",
            f"{source.get('task')}; experiment {source.get('experiment')}, preset "
            f"{source.get('preset')}",
        ),
        ("Data fingerprint", source.get("data_fingerprint")),
        ("Seed", source.get("seed")),
        ("Update", source.get("step")),
        ("Commit", source.get("commit")),
        ("Versions", _versions(source.get("versions", {}))),
        ("Trained on", source.get("device")),
    ]
    lines = [f"# {description.name}", "", *_table(("", ""), rows), "", RESULTS, ""]
    lines += _results(source.get("result"))
    lines += ["", "## Not tested", "", *_limits(description, reference)]
    text = "\n".join(lines) + "\n"
    if (compressed := source.get("compressed")) is None:
        return text
    about = {name: x for name, x in compressed.items() if name != "from"}
    return card_of_compressed(text, description.name, compressed["from"], about)


def card_of_compressed(text: str, name: str, whole: str, about: Mapping[str, Any]) -> str:
    """Returns the card of a compressed model from that of the whole one.

    The results of the run are then those of another model, which their heading names.

    Args:
      text: the card of the whole model.
      name: of the compressed model.
      whole: the name of the whole model.
      about: how it was compressed, and what was measured.

    >>> text = "# abc\\n\\n## Results\\n\\nThe run was not finished.\\n"
    >>> print(card_of_compressed(text, "abc-int8", "abc", {"bits": 8, "test_nll": 1.5}))
    # abc-int8
    <BLANKLINE>
    ## Results of abc, before the compression
    <BLANKLINE>
    The run was not finished.
    <BLANKLINE>
    ## Compression
    <BLANKLINE>
    |  |  |
    | --- | --- |
    | bits | 8 |
    | test nll | 1.5000 |
    <BLANKLINE>
    """
    _, _, body = text.partition("\n")  # without the title
    body = body.replace(f"\n{RESULTS}\n", f"\n{RESULTS} of {whole}, before the compression\n")
    rows = [
        (name.replace("_", " "), f"{x:.4f}" if isinstance(x, float) else f"{x:,}")
        for name, x in about.items()
    ]
    return "\n".join([f"# {name}", f"{body}", "## Compression", "", *_table(("", ""), rows), ""])


def _inputs(description: Description) -> str:
    sizes = description.sizes
    if description.vocabulary:
        return f"text of {sizes.vocab_size} symbols"
    if sizes.vocab_size is not None:
        return f"token ids below {sizes.vocab_size}"
    if sizes.word_sizes is not None:
        words, characters = sizes.word_sizes
        return f"words, by {words:,} ids of words and {characters:,} of characters"
    return f"{counted(sizes.in_features, 'value')} per time step"


def _outputs(description: Description) -> str:
    count = description.sizes.out_features
    if not isinstance(description.loss, str):
        return f"{description.loss}"
    if description.classes:
        return f"one of {count} classes: {shortened(description.classes)}"
    if description.loss == "categorical":
        return f"one of {count} {'symbols' if description.vocabulary else 'classes'}"
    return f"{counted(count, 'label' if description.loss == 'binary' else 'value')} per time step"


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {versions[name]}" for name in PACKAGES if name in versions)


def _results(result: Mapping[str, Any] | None) -> Iterator[str]:
    if result is None:
        yield "The run was not finished: it has no result."
        return
    scores = {**result["metrics"], **result["baselines"]}
    metrics = list(dict.fromkeys(name for values in scores.values() for name in values))
    lines = [(name if name in result["metrics"] else f"{name} (baseline)") for name in scores]
    rows = [
        (line, *(_number(values.get(metric)) for metric in metrics))
        for line, values in zip(lines, scores.values(), strict=True)
    ]
    yield from _table(("", *metrics), rows)
    yield ""
    yield (
        f"The main metric is {result['metric']}. Baselines are trivial predictors, evaluated on "
        f"the set {list(result['metrics'])[-1]!r}."
    )


def _limits(description: Description, reference: Reference | None) -> Iterator[str]:
    if reference is not None:
        yield (
            f"The model was evaluated on the held-out part {reference.data!r} of the data that it "
            "was trained on, and on nothing else. It was not tested on:"
        )
        yield ""
        yield "- data from another source, of another time or another population;"
        yield f"- sequences of more than {counted(reference.longest, 'time step')};"
        if reference.features:
            yield "- inputs outside the ranges in reference.json;"
        if reference.longest_gap is not None:
            yield f"- gaps of more than {reference.longest_gap:g} between inputs;"
    else:
        yield "The model was not tested on:"
        yield ""
    if description.vocabulary:
        yield "- text of another language, style or subject;"
    yield "- inputs that are made to mislead it;"
    yield "- groups within the data: an average may hide one for which it is wrong more often;"
    yield "- other processors and versions, where outputs differ in their last bits."


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(_cell(x) for x in row)} |"


def _cell(value: Any) -> str:
    text = UNKNOWN if value is None else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
