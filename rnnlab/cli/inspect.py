"""`rnnlab inspect`: figures of a trained model's gradients, memory, gates and states."""

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import expit, softmax

from rnnlab.call_validation import require_one_sequence
from rnnlab.cli.commands import Inspect
from rnnlab.cli.inspect_source import inspect_source
from rnnlab.cli.outputs import default_directory
from rnnlab.loading import load_trained
from rnnlab.models import EncoderDecoder, SequenceModel
from rnnlab.runs.api import read_settings
from rnnlab.tables import print_table, print_text
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.text import encode

MAX_STEPS, MAX_STEPS_OF_ONE_TARGET = 120, 1000
"""Most time steps that are drawn, the last one that of the prediction: fewer where many have a
target."""

BIDIRECTIONAL = (
    "The model is bidirectional: it reads whole sequences and has no step for streaming. Each "
    "direction is analyzed on its own."
)


@dataclass(frozen=True)
class Selected:
    """One sequence.

    Attributes:
      inputs: token ids (time,) or values (time, in_features), without padding.
      targets: (time,) or (time, out_features), as in `Batch`.
      source: where it is from.
      gaps: (time,), as in `Batch`; None where the data has none.
    """

    inputs: np.ndarray
    targets: np.ndarray
    source: str
    gaps: np.ndarray | None = None

    @property
    def is_scored(self) -> np.ndarray:
        """(time,) bool: whether a time step has a target."""
        if self.targets.dtype.kind == "f":
            return ~np.isnan(self.targets).all(-1)
        return self.targets != IGNORE_INDEX

    def read_by(self, model: SequenceModel, start: int, end: int) -> tuple[Array, Array | None]:
        """Returns the inputs and the gaps of some time steps; no gaps where a model uses none."""
        gaps = self.gaps[start:end] if model.uses_gaps and self.gaps is not None else None
        return jnp.asarray(self.inputs[start:end]), None if gaps is None else jnp.asarray(gaps)


def inspect(command: Inspect) -> int:
    """Prints the table and writes the figures. Returns the exit code.

    Raises:
      DataError: the text has symbols that the run's data does not have.
      ValueError: text was given for a run on other data or is too short, the sequence or time step
        does not exist, or the model also reads labels.
    """
    from rnnlab.analysis import report
    from rnnlab.plotting import save_figure

    trained = load_trained(command.folder, strict=command.strict)
    model, data = trained.model, trained.data
    if isinstance(model, EncoderDecoder):
        return inspect_source(command, trained)
    require_one_sequence(model, "be inspected")
    selected = _from_text(command, data) if command.text is not None else _from_data(command, data)
    step = command.time_step
    if step is None:
        step = len(selected.inputs) - 1 if command.text is not None else _last_scored(selected)
    _require_step(selected, step)
    is_bidirectional = report.is_bidirectional(model)
    start, end = (
        (0, len(selected.inputs)) if is_bidirectional else (_start(selected, step), step + 1)
    )
    carry = model.initial_carry(())
    if start:
        before, gaps = selected.read_by(model, 0, start)
        carry = model(carry, before, gaps=gaps)[0]
    xs, gaps = selected.read_by(model, start, end)
    labels = [data.vocabulary[int(k)] for k in xs] if data.vocabulary else None
    outputs = np.asarray(model(carry, xs, gaps=gaps)[1][step - start], np.float64)
    prediction = _prediction(data, selected, outputs, step)._replace(step=step - start)
    source = f"{selected.source}, time steps {start} to {end - 1}"
    print_text(f"{source}. Prediction at time step {step}: {prediction.text}.")
    if is_bidirectional:
        print_text(BIDIRECTIONAL)
    print_table(report.table(model, xs, carry, gaps))
    out = command.out or default_directory(command.folder) / "inspect"
    given = {"carry": carry, "gaps": gaps, "first_step": start, "source": source}
    for name, figure in report.figures(model, xs, labels, prediction=prediction, **given):
        save_figure(figure, out / f"{name}.png")
        print("Written:", out / f"{name}.png", flush=True)
    return 0


def _from_text(command: Inspect, data: TaskData) -> Selected:
    """Returns the sequence of the command's text, whose targets are its next symbols."""
    if not data.vocabulary:
        raise ValueError(f"{command.folder} is not a run on text; omit --text")
    if command.sequence is not None:
        raise ValueError("--text and --sequence choose different sequences; omit one of them")
    ids = np.asarray(encode(command.text, data.vocabulary), np.int32)
    if len(ids) < 2:
        raise ValueError(f"text must have at least 2 symbols, got {len(ids)}; use a longer --text")
    return Selected(ids, np.append(ids[1:], IGNORE_INDEX), "The given text")


def _from_data(command: Inspect, data: TaskData) -> Selected:
    """Returns a sequence of the last evaluation set: the given one, or the longest of a batch."""
    if not data.eval_sets:
        action = "pass --text" if data.vocabulary else "inspect the run"
        raise ValueError(f"{command.folder} must have a sequence, and is a bundle; {action}")
    name, batches = list(data.eval_sets.items())[-1]
    settings = read_settings(command.folder)[1]
    path = settings["data"].get("path") if isinstance(settings["data"], dict) else None
    where = Path(path).name if isinstance(path, str) else settings["task"]
    count = 0
    for batch in batches():
        mask = np.ones(batch.inputs.shape[:2], bool) if batch.mask is None else batch.mask
        lengths = mask.sum(1)
        n = int(np.argmax(lengths)) if command.sequence is None else command.sequence - count
        if 0 <= n < len(lengths) and lengths[n]:
            example = _without_padding(batch, n, int(lengths[n]))
            source = f"{where}, {name} set: sequence {count + n} (counted from 0)"
            if data.example_ids is not None:
                source += f", in its file {data.example_ids[count + n]}"
            return Selected(example.inputs, example.targets, source, example.gaps)
        count += int((lengths > 0).sum())
    raise ValueError(
        f"sequence must be in 0 to {count - 1}, the sequences of the {name} set, got "
        f"{command.sequence}; choose another --sequence"
    )


def _without_padding(batch: Batch, n: int, end: int) -> Batch:
    """Returns an example without batch axis, up to its first reset."""
    if batch.reset is not None and batch.reset[n, 1:end].any():
        end = 1 + int(np.argmax(batch.reset[n, 1:end]))
    gaps = None if batch.gaps is None else batch.gaps[n, :end]
    # Labels belong to no time step of their own.
    no_targets = np.full(end, IGNORE_INDEX, np.int32)
    targets = no_targets if batch.targets is None else batch.targets[n, :end]
    return Batch(batch.inputs[n, :end], targets, gaps=gaps)


def _require_step(selected: Selected, step: int) -> None:
    length = len(selected.inputs)
    if not 0 <= step < length:
        raise ValueError(
            f"time_step must be in 0 to {length - 1} for this sequence, got {step}; choose another "
            "--time-step"
        )


def _last_scored(selected: Selected) -> int:
    """Returns the last time step that has a target, or the last one."""
    scored = np.flatnonzero(selected.is_scored)
    return int(scored[-1]) if len(scored) else len(selected.inputs) - 1


def _start(selected: Selected, step: int) -> int:
    """Returns the first time step that is drawn for a prediction."""
    has_one_target = np.sum(selected.is_scored) <= 1
    return max(0, step + 1 - (MAX_STEPS_OF_ONE_TARGET if has_one_target else MAX_STEPS))


def _prediction(data: TaskData, selected: Selected, outputs: np.ndarray, step: int):
    """Returns what a model's outputs at a time step predict, and the output that stands for it."""
    from rnnlab.analysis.report import Prediction
    from rnnlab.heads import LinearChain

    target, is_known = selected.targets[step], bool(selected.is_scored[step])
    if data.loss == "squared":
        known = np.flatnonzero(~np.isnan(target))
        output = int(known[0]) if len(known) else 0
        number = f" {output}" if len(outputs) > 1 else ""
        true = f"target {target[output]:.4g}" if is_known else "no target"
        text = f"predicted value{number}: {outputs[output]:.4g}, {true}"
        if data.relative_scales is not None:
            text += " (scaled by the past of its series)"
        elif data.target_scale != 1:
            text += f" (standardized; 1 is {data.target_scale:.4g} in the data's unit)"
        return Prediction(step, output, text, f"predicted value{number}")
    if isinstance(data.loss, LinearChain):
        output = int(np.argmax(outputs))
        before, tag = (_class_name(data, k) for k in divmod(output, data.loss.num_tags))
        true = f"target {_class_name(data, int(target))}" if is_known else "no target"
        text = f"highest score: {tag} after {before}, {true}"
        return Prediction(step, output, text, f"score of {tag} after {before}")
    if not isinstance(data.loss, str):
        output = int(np.argmax(np.abs(outputs)))
        text = f"largest output {output} of {data.loss}: {outputs[output]:.4g}"
        return Prediction(step, output, text, f"output {output}")
    output = int(np.argmax(outputs))
    if data.loss == "binary":
        listed = " ".join(map(str, np.flatnonzero(target == 1))) or "none"
        true = f"target labels {listed}" if is_known else "no target"
        text = f"most probable label {output} (probability {expit(outputs[output]):.3f}), {true}"
        return Prediction(step, output, text, f"logit of label {output}")
    true = f"target {_class_name(data, int(target))}" if is_known else "no target"
    name = _class_name(data, output)
    text = f"predicted {name} (probability {softmax(outputs)[output]:.3f}), {true}"
    return Prediction(step, output, text, f"logit of {name}")


def _class_name(data: TaskData, index: int) -> str:
    """Returns the symbol or the name of a class, or its number where it has none."""
    if len(data.vocabulary) == data.out_features:
        return repr(data.vocabulary[index])
    return f"class {data.classes[index] if data.classes else index}"
