"""The trials of a search as a table, and in sentences."""

from collections import Counter

from rnnlab.cli.seed_groups import format_metric, format_setting
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.searches.space import split_settings
from rnnlab.searches.training import Search, SearchResult, setting_text
from rnnlab.searches.trial_files import STATES, TrialRecord
from rnnlab.tables import Table

MAX_REASONS = 3
"""Most trials whose reason of failure is printed."""


def search_table(result: SearchResult, opened: Search) -> Table:
    """Returns a table of all trials, the best first."""
    names = list(opened.study.space.axes)
    names = [one for name in names for one in name.split("+")]
    lines = []
    for trial in result.trials:
        settings = split_settings(opened.study.space.settings(trial.parameters))
        shown = (format_value(settings[name]) if name in settings else "" for name in names)
        steps, seconds = _cost(result, trial)
        value = format_metric(trial.value)
        lines.append((str(trial.number), trial.state, value, *shown, steps, seconds))
    heading = f"{result.split} {result.metric}"
    short = [name.rpartition(".")[2] for name in names]
    headings = ("trial", "state", heading, *short, "updates", "seconds")
    direction = "higher" if opened.study.maximize else "lower"
    title = (
        f"{opened.record['experiment']}, preset {opened.record['preset']}; {direction} is better"
    )
    return Table(title, headings, lines, optional=("seconds", "updates"))


def summary(result: SearchResult) -> str:
    """Returns the number of trials in each state, and why trials failed."""
    counts = Counter(trial.state for trial in result.trials)
    text = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    reasons = [f"trial {trial.number}: {trial.reason}" for trial in result.trials if trial.reason]
    more = len(reasons) - MAX_REASONS
    shown = reasons[:MAX_REASONS] + ([f"and {more} more"] if more > 0 else [])
    return f"{len(result.trials)} trials: {text}." + "".join(f" {one}." for one in shown)


def best_sentence(result: SearchResult, opened: Search) -> str:
    """Returns a sentence about the best trial."""
    best = result.best
    settings = split_settings(opened.study.space.settings(best.parameters))
    return (
        f"Best: trial {best.number}, {result.split} {result.metric} {format_metric(best.value)}, "
        f"with {setting_text(settings)}."
    )


def format_value(value: object) -> str:
    """Returns the value of a setting, numbers with four significant digits.

    >>> format_value(0.00123456), format_value("gru")
    ('0.001235', 'gru')
    """
    return f"{value:.4g}" if isinstance(value, float) else format_setting(value)


def _cost(result: SearchResult, trial: TrialRecord) -> tuple[str, str]:
    """Returns the updates and the seconds of a trial, empty if it has no result."""
    run_dir = RunDirectory(result.run_directory(trial))
    if not run_dir.result.exists():
        return "", ""
    record = run_dir.read_result()
    seconds = record.get("seconds")
    return f"{record['steps']:,}", "" if seconds is None else f"{seconds:,.1f}"
