"""Reads JSON objects of requests: every field is checked, and an error names it."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from rnnlab.serve.jobs import RequestError

SHOWN = 60
"""Characters of a value that an error shows."""


def invalid(field: str, must: str, found: object, action: str) -> RequestError:
    """Returns the error of a field: what must hold, what was found, what to do.

    >>> invalid("seed", "be >= 0", -1, "omit it").message
    'seed must be >= 0, got -1; omit it'
    """
    return RequestError(422, f"{field} must {must}, got {shown(found)}; {action}", field=field)


def shown(value: object) -> str:
    """Returns a short text for a value of JSON.

    >>> shown("a" * 100)[-6:]
    'aa..."'
    """
    text = json.dumps(value, default=str)
    quote = '"' if text[:1] == '"' else ""
    return text if len(text) <= SHOWN else text[: SHOWN - 3 - len(quote)] + "..." + quote


def parse_object(body: bytes) -> dict[str, Any]:
    """Returns the JSON object of a request's body.

    Raises:
      RequestError: the body is not UTF-8, not JSON, not an object, or has a key twice.
    """
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_unique_keys, parse_constant=_reject_constant
        )
    except RequestError:
        raise
    except UnicodeDecodeError as error:
        raise RequestError(
            400, f"the body must be UTF-8, got another byte at {error.start}; encode it"
        ) from None
    except RecursionError:
        raise RequestError(
            400, "the body must be nested less deeply; send the fields of the API"
        ) from None
    except ValueError as error:
        raise RequestError(
            400, f"the body must be JSON, got an error: {error}; send a JSON object"
        ) from None
    if not isinstance(value, dict):
        raise RequestError(
            400, f"the body must be a JSON object, got {shown(value)}; send an object"
        )
    return value


class Fields:
    """The fields of one JSON object.

    Args:
      values: the object.
      path: of the object in the request, such as "parameters"; "" is the request.

    Raises:
      RequestError: `values` is not an object.
    """

    def __init__(self, values: Any, path: str = ""):
        if not isinstance(values, Mapping):
            raise invalid(path or "the request", "be an object", values, "send an object")
        self._values = values
        self._prefix = f"{path}." if path else ""

    def path(self, name: str) -> str:
        """Returns the full name of a field."""
        return f"{self._prefix}{name}"

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def __getitem__(self, name: str) -> Any:
        return self._values.get(name)

    def require_known(self, names: Iterable[str]) -> None:
        """Raises if the object has a field that is not one of `names`.

        Raises:
          RequestError: names the field and similar ones.
        """
        names = list(names)
        for name in self._values:
            if name not in names:
                close = difflib.get_close_matches(str(name), names, 1)
                action = f"did you mean {close[0]}?" if close else "remove it"
                raise RequestError(
                    422,
                    f"{self.path(shown(name)[1:-1])} is not a field; fields are "
                    f"{', '.join(names)}; {action}",
                    field=self.path(str(name)[:SHOWN]),
                )

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Returns an integer from `low` to `high`.

        Raises:
          RequestError: the value is another.
        """
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            must = f"be an integer from {low} to {high}"
            raise invalid(self.path(name), must, value, "change or omit it")
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Returns a number from `low` to `high`.

        Raises:
          RequestError: the value is another.
        """
        value = self._values.get(name)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not low <= value <= high:
            must = f"be a number from {low:g} to {high:g}"
            raise invalid(self.path(name), must, value, "change or omit it")
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """Returns a flag.

        Raises:
          RequestError: the value is neither true nor false.
        """
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise invalid(self.path(name), "be true or false", value, "change or omit it")
        return value

    def text(self, name: str, max_length: int, default: str | None = None) -> str | None:
        """Returns a text of 1 to `max_length` characters.

        Raises:
          RequestError: the value is not one.
        """
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or not 0 < len(value) <= max_length:
            found = value if not isinstance(value, str) else f"{len(value)} characters"
            must = f"be a text of 1 to {max_length} characters"
            raise invalid(self.path(name), must, found, "change or omit it")
        return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        key = next(key for key in keys if keys.count(key) > 1)
        message = f"each field must occur once, got {shown(key)} twice; remove one"
        raise RequestError(400, message, field=key[:SHOWN])
    return found


def _reject_constant(name: str) -> Any:
    raise RequestError(400, f"numbers must be finite, got {name}; send another number or null")
