"""The results of runs in two or three sentences."""

from collections.abc import Sequence

from rnnlab.cli.seed_groups import (
    SeedGroup,
    Spread,
    better_direction,
    format_metric,
    format_spread,
    group_seeds,
    known_baselines,
    metric_value,
    split_by_data,
)
from rnnlab.records import Record

MAX_DATA_SETS = 4
"""Most data sets whose best settings are named one by one."""


def conclusion(results: Sequence[Record]) -> str:
    """Returns the best setting, whether others differ from it, and the best baseline next to it.

    Settings are compared by their means over seeds. A difference counts if it is larger than the
    larger standard deviation over seeds of the two. Settings on different data are not compared.

    Args:
      results: results of runs with one metric.
    """
    groups, first = group_seeds(results), results[0]
    name = f"{list(first['metrics'])[-1]} {first['metric']}"
    spreads = [found for group in groups if (found := group.spread()) is not None]
    if not spreads:
        return f"No run has a finite {name}."
    data_sets = split_by_data(groups)
    is_one = len(data_sets) == 1
    sentences = _ranking(groups, name) if is_one else [_best_by_data(data_sets, name)]
    sentences.append(_baseline_sentence(groups))
    if len(spreads) > 1 and all(found.count == 1 for found in spreads):
        sentences.append("Each setting has one seed: do not rank settings by small differences.")
    return " ".join(filter(None, sentences))


def _ranking(groups: Sequence[SeedGroup], name: str) -> list[str]:
    """Returns the best setting, and which others do not differ from it by more than seeds do."""
    ranked = _ranked(groups)
    winner, best = ranked[0]
    mean = "mean " if best.count > 1 else ""
    sentences = [f"The best {mean}{name} is {_with_label(winner, best)}."]
    if len(ranked) == 1 or all(found.count == 1 for _, found in ranked):
        return sentences
    others = [(group, found) for group, found in ranked[1:] if not _is_apart(best, found)]
    if others:
        named = "; ".join(_with_label(*other) for other in others[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        verb = "differs" if len(others) == 1 else "differ"
        sentences.append(
            f"There is no clear winner: {named}{more} {verb} from it by no more than the standard "
            "deviation over seeds."
        )
    else:
        sentences.append(
            f"The next, {_with_label(*ranked[1])}, is worse by more than the standard deviation "
            "over seeds."
        )
    return sentences


def _best_by_data(data_sets: Sequence[Sequence[SeedGroup]], name: str) -> str:
    """Returns the best setting of each data set, or that there are many."""
    apart = f"The runs are on {len(data_sets)} data sets, which are not ranked against each other"
    if len(data_sets) > MAX_DATA_SETS:
        return f"{apart}."
    best = [_with_label(*ranked[0]) for groups in data_sets if (ranked := _ranked(groups))]
    return f"{apart}. The best {name} of each: {'; '.join(best)}."


def _ranked(groups: Sequence[SeedGroup]) -> list[tuple[SeedGroup, Spread]]:
    """Returns the groups that have a finite value with their spreads, the best mean first."""
    found = [(group, spread) for group in groups if (spread := group.spread()) is not None]
    is_higher = better_direction(groups[0].results[0]) == "higher"
    return sorted(found, key=lambda pair: pair[1].mean, reverse=is_higher)


def _is_apart(one: Spread, other: Spread) -> bool:
    """Returns whether means differ by more than the larger standard deviation over seeds."""
    return abs(one.mean - other.mean) > max(one.std or 0.0, other.std or 0.0)


def _with_label(group: SeedGroup, found: Spread) -> str:
    parts = [group.label()] if group.settings else []
    parts += [f"{found.count} seeds"] if found.count > 1 else []
    return format_spread(found) + (f" ({', '.join(parts)})" if parts else "")


def _baseline_sentence(groups: Sequence[SeedGroup]) -> str:
    results = [result for group in groups for result in group.results]
    known = list(map(known_baselines, results))
    if not all(known):
        return ""
    best = {(name, format_metric(value)) for *_, (name, value) in (b.items() for b in known)}
    about = "the best baseline"
    if len(best) == 1:
        ((name, value),) = best
        about += f" ({name}, {value})"
    else:
        about += " of their data"
    spreads = [group.spread() for group in groups]
    if all(found is None or found.count == 1 for found in spreads):
        count = sum(map(_beats, results, known, (metric_value(r) for r in results)))
        if len(results) == 1:
            return f"The run is {'' if count else 'not '}better than {about}."
        return f"{_counted(count, len(results), 'run')} better than {about}."
    verdicts = list(map(_verdict, groups, spreads))
    if len(groups) == 1:
        return {
            "better": f"It is better than {about} by more than that standard deviation.",
            "unclear": f"It differs from {about} by no more than that standard deviation.",
            "worse": f"It is not better than {about}.",
        }[verdicts[0]]
    better, unclear = verdicts.count("better"), verdicts.count("unclear")
    if not better and not unclear:
        return f"No setting is better than {about}."
    margin = "the standard deviation over seeds"
    if not better:
        verb = "differs" if unclear == 1 else "differ"
        return f"No setting is clearly better than {about}: {unclear} {verb} by at most {margin}."
    counted = _counted(better, len(groups), "setting")
    return f"{counted} better than {about}, by more than {margin}."


def _counted(count: int, total: int, noun: str) -> str:
    """Returns a subject and its verb, as in "No run is", "1 of 3 runs is" or "Both runs are"."""
    if not count:
        return f"No {noun} is"
    if count == total:
        return f"Both {noun}s are" if total == 2 else f"All {total} {noun}s are"
    return f"{count} of {total} {noun}s {'is' if count == 1 else 'are'}"


def _verdict(group: SeedGroup, found: Spread | None) -> str:
    """Returns "better", "unclear" or "worse": the group's mean next to its best baseline."""
    baselines = known_baselines(group.results[0])
    *_, value = baselines.values()
    if found is None:
        return "worse"
    if found.std is not None and abs(found.mean - value) <= found.std:
        return "unclear"
    return "better" if _beats(group.results[0], baselines, found.mean) else "worse"


def _beats(result: Record, baselines: dict[str, float], value: float | None) -> bool:
    *_, baseline = baselines.values()
    if value is None:
        return False
    return value > baseline if better_direction(result) == "higher" else value < baseline
