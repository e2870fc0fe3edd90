"""Series for forecasting that come with Python packages."""

from pathlib import Path
from typing import NamedTuple

from rnnlab.optional import package_data_path


class BuiltInSeries(NamedTuple):
    """A series in a file of an installed package.

    Attributes:
      package: the package.
      file: the parts of the file's path within it.
      column: the column of values.
      season: time steps per season.
      date_format: of the dates; None where it is detected.
    """

    package: str
    file: tuple[str, ...]
    column: str
    season: int
    date_format: str | None = None

    def path(self) -> Path:
        """Returns the path of the file.

        Raises:
          ValueError: the package is not installed.
        """
        return package_data_path(self.package, *self.file)


SERIES = {
    "co2": BuiltInSeries("statsmodels", ("datasets", "co2", "co2.csv"), "co2", 52),
    "temperature": BuiltInSeries(
        "vega_datasets", ("_data", "seattle-weather.csv"), "temp_max", 365
    ),
    "airline": BuiltInSeries(
        "sktime", ("datasets", "data", "Airline", "Airline.csv"), "Passengers", 12
    ),
    "equipment": BuiltInSeries(
        "statsmodels",
        ("datasets", "elec_equip", "elec_equip.csv"),
        "STS.M.I7.W.TOVT.NS0016.4.000",
        12,
        "%b-%d-%Y",
    ),
    "gdp": BuiltInSeries("statsmodels", ("datasets", "macrodata", "macrodata.csv"), "realgdp", 4),
    "seatbelts": BuiltInSeries(
        "sktime", ("datasets", "data", "seatbelts", "seatbelts.csv"), "KSI", 12
    ),
    "sunspots": BuiltInSeries(
        "statsmodels", ("datasets", "sunspots", "sunspots.csv"), "SUNACTIVITY", 11
    ),
}
"""The series by name."""
