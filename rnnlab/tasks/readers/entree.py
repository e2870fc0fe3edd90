"""Reader of the Entree sessions: visits of a recommender of restaurants in Chicago."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.sessions import SessionLog, collect_sessions
from rnnlab.tasks.readers.text import read_text

ACTIONS = {
    "L": "browse",
    "M": "cheaper",
    "N": "nicer",
    "P": "more traditional",
    "Q": "more creative",
    "R": "more lively",
    "S": "quieter",
    "T": "other cuisine",
}
"""What a visitor asks for at a restaurant, by the letter behind its number."""

VISIT = re.compile(r"(\d+)([L-T])", re.ASCII)
RESTAURANT = re.compile(r"(\d{7})\t([^\t]+)\t[\d ]*", re.ASCII)
END_UNKNOWN = "-1"


def read_entree(files: Mapping[str, Path]) -> SessionLog:
    """Reads the sessions that show at least two different restaurants.

    A line of the log repeats a restaurant as long as the visitor stays there; here it is one event,
    with the last action. The action at the last restaurant is unknown where the session ends there.

    Args:
      files: of `rnnlab.datasets.dataset_files("entree")`: sessions.tsv and chicago.txt.

    Raises:
      DataError: a line is not of the format. Messages count lines from 1.

    Source: Burke, "The Wasabi Personal Shopper", AAAI 1999.
    """
    titles = _titles(files["chicago.txt"])
    path = files["sessions.tsv"]
    found: list[tuple[str, float, list[str], list[int]]] = []
    letters = {letter: number for number, letter in enumerate(ACTIONS)}
    for line, text in enumerate(read_text(path).splitlines(), 1):
        cells = text.split("\t")
        if len(cells) < 5:
            reason = f"must have >= 5 cells separated by tabs, got {len(cells)}; copy it again"
            raise data_error(path, reason, line=line)
        _, date, _, _, *visits, end = cells
        restaurants, actions = [], []
        for visit in visits:
            match = VISIT.fullmatch(visit.strip())  # the file pads one of them
            if match is None or match[2] not in letters:
                reason = f"must have visits such as 560L, got {quote_cell(visit)}; copy it again"
                raise data_error(path, reason, line=line)
            if restaurants and restaurants[-1] == match[1]:
                actions[-1] = letters[match[2]]
            else:
                restaurants.append(match[1])
                actions.append(letters[match[2]])
        if end != END_UNKNOWN and (not restaurants or restaurants[-1] != end):
            if not end.isdigit():
                reason = f"must end with a restaurant or -1, got {quote_cell(end)}; copy it again"
                raise data_error(path, reason, line=line)
            restaurants.append(end)
            actions.append(-1)
        elif end != END_UNKNOWN:
            actions[-1] = -1
        if len(set(restaurants)) >= 2:
            found.append((f"{line}", _seconds(path, date, line), restaurants, actions))
    names = sorted({name for _, _, of, _ in found for name in of}, key=int)
    numbers = {name: number for number, name in enumerate(names)}
    chosen = sorted({action for *_, actions in found for action in actions} - {-1})
    codes = {action: number for number, action in enumerate(chosen)} | {-1: -1}
    log = collect_sessions(
        [
            (line, start, [numbers[x] for x in of], [codes[x] for x in actions])
            for line, start, of, actions in found
        ],
        tuple(names),
        tuple(list(ACTIONS.values())[code] for code in chosen),
    )
    return log._replace(titles=tuple(titles.get(int(name), "") for name in names))


def _titles(path: Path) -> dict[int, str]:
    """The name of each restaurant by its number."""
    found = {}
    for line, text in enumerate(read_text(path).splitlines(), 1):
        match = RESTAURANT.fullmatch(text)
        if match is None:
            reason = f"must be a number of 7 digits, a name and features, got {quote_cell(text)}"
            raise data_error(path, f"{reason}; copy the file again", line=line)
        found[int(match[1])] = match[2]
    return found


def _seconds(path: Path, date: str, line: int) -> float:
    try:
        moment = datetime.strptime(date, "%d/%b/%Y:%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        reason = f"must have a date such as 07/Sep/1996:12:17:05, got {quote_cell(date)}"
        raise data_error(path, f"{reason}; copy the file again", line=line) from None
    return moment.timestamp()
