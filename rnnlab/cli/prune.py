"""`rnnlab prune`: a bundle whose minimal cells have fewer units."""

from rnnlab.bundle.writing import require_free
from rnnlab.cli.deploy_commands import Prune
from rnnlab.compress.bundles import open_source, write_pruned
from rnnlab.compress.fine_tune import fine_tune, tuning_config
from rnnlab.compress.prune import prune
from rnnlab.models import SequenceModel
from rnnlab.models.config import count_parameters, state_bytes
from rnnlab.tables import Table, print_table
from rnnlab.train.callbacks import Reporter


def run(command: Prune) -> int:
    """Prints the sizes and the losses, and writes a bundle. Returns 0.

    Raises:
      BundleError: the bundle is invalid.
      CheckpointError: there is no run, or no valid checkpoint.
      ValueError: there is no data, the model has no minimal cell, an option is out of range, or the
        folder exists.
    """
    with open_source(command.folder, command.run) as source:
        if source.data is None:
            raise ValueError(
                "a bundle needs data to be pruned, got none; name the run that it was made of by "
                "--run"
            )
        if command.batches < 1:
            raise ValueError(f"batches must be >= 1, got {command.batches}; raise --batches")
        out = command.out or source.out(f"pruned{round(100 * command.share)}")
        require_free(out, command.overwrite)
        whole = source.bundle.model()
        batches = [source.data.train_batch(k) for k in range(command.batches)]
        model = prune(whole, batches, command.share, stateful=source.data.stateful)
        part, metric = list(source.data.eval_sets)[-1], source.data.metrics[0]

        losses = []

        def row(what: str, model: SequenceModel) -> tuple[str, ...]:
            losses.append(source.metric(model, part))
            sizes = f"{count_parameters(model):,}", f"{state_bytes(model):,}"
            return (what, *sizes, f"{losses[-1]:.4f}")

        lines = [row("all units", whole), row(f"{1 - command.share:.1%} of the units", model)]
        if command.tune_steps:
            config = tuning_config(source.train, command.tune_steps)
            model = fine_tune(model, source.data, config, reporter=Reporter(log=print))
            lines.append(row(f"after {command.tune_steps} updates", model))
        headings = ("model", "parameters", "state, bytes", f"{part} {metric}")
        print_table(Table("", headings, lines))
        about = {
            "share": command.share,
            "updates": command.tune_steps,
            f"{part}_{metric}": losses[-1],
            f"{part}_{metric}_of_all_units": losses[0],
        }
        written = write_pruned(out, source, model, about, overwrite=command.overwrite)
    print("Written:", written.path)
    return 0
