"""`rnnlab predict`: a table and a figure of a trained model's predictions."""

from pathlib import Path

from rnnlab.analysis import prediction_plots
from rnnlab.cli.commands import Predict
from rnnlab.cli.outputs import default_directory
from rnnlab.loading import load_trained
from rnnlab.plotting import require_replaceable, save_figure
from rnnlab.tables import Table, print_table, print_text
from rnnlab.tasks.predictions import Predictions

MAX_PRINTED_ROWS = 12
"""Rows of the table that are printed; all are in the file."""


def predict(command: Predict) -> int:
    """Prints the last predictions and writes all of them. Returns the exit code.

    Raises:
      DataError: the new data does not fit the training data.
      ValueError: an option does not fit the run, or a file exists and is not of predictions.
    """
    out = command.out or default_directory(command.folder) / "predictions.csv"
    if out.suffix.lower() != ".csv" or out.is_dir():
        raise ValueError(f"{out} is not a name of a table; give a file that ends in .csv")
    trained = load_trained(command.folder, strict=command.strict)
    figure_file = out.with_suffix(".png")
    require_replaceable(figure_file)
    predictions = trained.predict(command.data_path, horizon=command.horizon)
    _require_replaceable_table(out, predictions)
    print_table(_table(predictions))
    print_text(predictions.summary)
    out.parent.mkdir(parents=True, exist_ok=True)
    predictions.save(out)
    print("Written:", out, flush=True)
    if (figure := prediction_plots.figure(predictions)) is not None:
        save_figure(figure, figure_file)
        print("Written:", figure_file, flush=True)
    return 0


def _require_replaceable_table(path: Path, predictions: Predictions) -> None:
    """Raises ValueError if a file exists that has other columns, such as the user's own data."""
    if not path.exists():
        return
    header = predictions.to_csv().partition("\n")[0]
    with path.open("rb") as file:
        found = file.readline().strip()
    if found != header.encode():
        raise ValueError(f"{path} must not exist with other columns; choose another name for --out")


def _table(predictions: Predictions) -> Table:
    """The last rows; of forecasts those are what follows the end of the data."""
    lines = predictions.rows()
    headings = tuple(predictions.columns)
    shown = [tuple(map(str, line)) for line in lines[-MAX_PRINTED_ROWS:]]
    title = f"{len(shown)} of {len(lines):,} predictions" if len(lines) > len(shown) else ""
    probabilities = tuple(name for name in headings if name.startswith("p("))
    return Table(title, headings, shown, optional=probabilities[::-1])
