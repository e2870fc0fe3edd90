"""The base class of benchmarks: options, order of work, common keys of records, tables."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
from jax import Array

from rnnlab import provenance, records
from rnnlab.records import Record
from rnnlab.tables import Table, device_label, format_ms
from rnnlab.validation import require_one_of, require_positive_int

if TYPE_CHECKING:  # matplotlib takes most of a second to import
    from matplotlib.figure import Figure

RECORDS_FILE, FIGURE_FILE = "rows.jsonl", "figure.png"
"""What a benchmark writes in its output directory."""

COMPARABLE_KEYS = (
    *("benchmark", "device", "platform", "processor", "cores", "versions", "xla_flags", "dtype"),
)
"""Keys whose values are equal in records that are drawn in one figure."""

OnProgress = Callable[[str], None]
"""Receives a description of each step of a benchmark's work before the step starts."""


@dataclass(frozen=True)
class Workload:
    """Sizes, dtype and device of one measurement."""

    length: int
    batch_size: int
    width: int
    dtype: str
    device: jax.Device

    @classmethod
    def of_shape(cls, shape: str, device: jax.Device, dtype: str = "float32") -> "Workload":
        """The workload of a shape such as "8x2048x512"."""
        batch_size, length, width = parse_shape(shape)
        return cls(length, batch_size, width, dtype, device)

    @property
    def sizes(self) -> Record:
        """The keys of a record that name the sizes and the dtype."""
        return {
            "batch_size": self.batch_size,
            "length": self.length,
            "width": self.width,
            "dtype": self.dtype,
        }

    def inputs(self, seed: int = 0) -> Array:
        """Standard normal inputs (batch, time, width). Zeros would let a processor skip work."""
        shape = (self.batch_size, self.length, self.width)
        xs = jax.random.normal(jax.random.key(seed), shape, self.dtype)
        return jax.device_put(xs, self.device)


def parse_shape(text: str) -> tuple[int, int, int]:
    """Batch size, length and width of a shape.

    Raises:
      ValueError: the text is not batch x time x width.

    >>> parse_shape("8x2048x512")
    (8, 2048, 512)
    """
    parts = text.split("x")
    if len(parts) != 3 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise ValueError(f"a shape must be batch x time x width, like 8x2048x512, got {text!r}")
    batch_size, length, width = map(int, parts)
    return batch_size, length, width


def find_device(name: str) -> jax.Device:
    """The first device of a platform; "auto" is the one that JAX prefers.

    Raises:
      ValueError: JAX finds no device of this platform.
    """
    if name == "auto":
        return jax.devices()[0]
    try:
        return jax.devices(name)[0]
    except RuntimeError:
        found = ", ".join(sorted({d.platform for d in jax.devices()}))
        raise ValueError(
            f"device must be a platform that JAX finds here ({found}), got {name!r}; use --device "
            "cpu, or install JAX for the accelerator, for example with rnnlab[cuda]"
        ) from None


@dataclass(frozen=True)
class Column:
    """A column of a benchmark's table: its heading, and a record's text in it."""

    heading: str
    text: Callable[[Record], str]


def key_column(key: str, heading: str | None = None) -> Column:
    """A column that shows a key of the record as it is."""
    return Column(heading or key, lambda r: str(r[key]))


SHAPE = Column(
    "batch × time × width", lambda r: f"{r['batch_size']} × {r['length']} × {r['width']}"
)
TEMP_MEMORY = Column(
    "XLA temp memory, MB",
    lambda r: "" if r["temp_bytes"] is None else f"{r['temp_bytes'] / 1e6:,.1f}",
)
COMPILE = Column(
    "compile, s",
    lambda r: "" if r["compile_seconds"] is None else f"{r['compile_seconds']:.2f}",
)
RATIO_QUARTILES = Column("quartiles", lambda r: f"{r['ratio_q1']:.2f} to {r['ratio_q3']:.2f}")


OPTIONAL_HEADINGS = (
    *("compile, s", "XLA temp memory, kB", "XLA temp memory, MB", "quartiles", "quartiles, ms"),
    *("tokens/s", "max output difference", "state per stream, bytes"),
)
"""Columns that a narrow terminal does not show, the first one first."""


def ratio_column(heading: str) -> Column:
    """The median ratio to the reference that was timed in the same rounds."""
    return Column(heading, lambda r: f"{r['ratio']:.2f}")


def time_quartiles(record: Record, key: str = "seconds") -> str:
    """First and third quartile of a time, in milliseconds."""
    return f"{format_ms(record[f'{key}_q1'])} to {format_ms(record[f'{key}_q3'])}"


def make_table(
    title: str, columns: Sequence[Column], measured: Sequence[Record], section_keys: Sequence[str]
) -> Table:
    """One table row per record, with a rule where a value of `section_keys` changes."""
    keys = [tuple(r[key] for key in section_keys) for r in measured]
    ends = frozenset(k for k, (this, following) in enumerate(pairwise(keys)) if this != following)
    lines = [tuple(column.text(r) for column in columns) for r in measured]
    return Table(title, tuple(c.heading for c in columns), lines, ends, OPTIONAL_HEADINGS)


class Benchmark(ABC):
    """A benchmark: a frozen dataclass of its options, and how they are measured.

    `run` measures one case after another and appends a record per result to `OUT/rows.jsonl`.
    Programs that are compared belong to one case, so that they are timed in the same rounds.

    Attributes:
      name: name of the subcommand, and the key `benchmark` of every record.
      choices: allowed values by name of an option.
      columns, section_keys: of the table. A rule is drawn where a value of `section_keys` changes.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: output directory.
    """

    name: ClassVar[str]
    choices: ClassVar[Mapping[str, Collection[Any]]] = {}
    columns: ClassVar[Sequence[Column]] = ()
    section_keys: ClassVar[Sequence[str]] = ()
    device = "auto"
    out: Path

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == ():
                raise ValueError(f"{field.name} must not be empty; name at least one")
            for x in value if isinstance(value, tuple) else (value,):
                if field.name in ("shapes", "shape"):
                    parse_shape(x)
                elif field.name in self.choices and x is not None:
                    require_one_of(field.name, x, self.choices[field.name])
                elif isinstance(x, int) and not isinstance(x, bool):
                    require_positive_int(**{field.name: x})

    def resolved(self) -> Self:
        """These options with every default filled in."""
        return self

    @abstractmethod
    def cases(self) -> Sequence[Any]:
        """The cases in the order in which they are measured."""

    def steps_of(self, case: Any) -> int:
        """The number of times that `measure` reports progress for a case."""
        return 1

    def num_steps(self) -> int:
        """The number of times that `run` reports progress, if no case ends early."""
        resolved = self.resolved()
        return sum(map(resolved.steps_of, resolved.cases()))

    @abstractmethod
    def measure(self, case: Any, device: jax.Device, on_progress: OnProgress) -> Iterable[Record]:
        """Measures a case; yields records without the keys that all records share."""

    def run(self, on_progress: OnProgress = lambda text: None) -> Iterator[Record]:
        """Measures all cases; yields each record after it was appended to `OUT/rows.jsonl`.

        Raises:
          ValueError: an option is out of range.
        """
        self.validate()
        resolved, device = self.resolved(), find_device(self.device)
        common = {"benchmark": self.name, **provenance.environment(device), "seed": 0}
        for case in resolved.cases():
            for measured in resolved.measure(case, device, on_progress):
                record = {**common, **measured}
                records.append(self.out / RECORDS_FILE, record)
                yield record

    @classmethod
    def table(cls, measured: Sequence[Record]) -> Table:
        """The records as a table."""
        return make_table(cls.title(measured), cls.columns, measured, cls.section_keys)

    @classmethod
    @abstractmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        """The records in two or three sentences; an interrupted benchmark has only some of them."""

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        """The table's title: what was measured, and where."""
        return f"{cls.name} on {device_label(measured[0])}; {measured[0]['dtype']}"

    @classmethod
    def belongs_with(cls, record: Record, measured: Sequence[Record]) -> bool:
        """Whether an earlier record of the output directory is comparable with those of a run."""
        return all(record.get(key) == measured[0][key] for key in COMPARABLE_KEYS)

    @classmethod
    def figure(cls, measured: Sequence[Record]) -> "Figure | None":
        """The records as a figure, or None if the benchmark draws nothing."""
        return None
