"""Errors of forecasts of short series: the cell by normalization, next to all baselines."""

from collections.abc import Sequence

from rnnlab.cli.seed_groups import format_metric, format_spread, spread
from rnnlab.records import Record
from rnnlab.tables import Table, device_label

BASELINES = ("ETS", "ARIMA", "seasonal naive", "last value")


def short_series(records: Sequence[Record]) -> Table:
    """One row per series: mean test RMSE over seeds, and the RMSE of each baseline.

    The lowest error of a row is bold.

    Args:
      records: of the preset `short` of the experiment `forecasting`.
    """
    lines = []
    for series in dict.fromkeys(r["data"]["series"] for r in records):
        own = [r for r in records if r["data"]["series"] == series]
        means, texts = [], []
        for normalization in ("auto", "series"):
            found = spread(
                r["metrics"]["test"]["rmse"]
                for r in own
                if r["data"]["normalization"] == normalization
            )
            means.append(found.mean)
            texts.append(format_spread(found))
        scores = [own[0]["baselines"][name]["rmse"] for name in BASELINES]
        means += scores
        texts += map(format_metric, scores)
        best = means.index(min(means))
        texts[best] = f"**{texts[best]}**"
        lines.append((series, *texts))
    cells = {r["cell"] for r in records}
    headings = ("series", *(f"{', '.join(cells)}, {x}" for x in ("auto", "series")), *BASELINES)
    devices = "; ".join(dict.fromkeys(map(device_label, records)))
    title = f"{devices}; forecasting, preset short; mean test RMSE ± standard deviation over seeds"
    return Table(title, headings, lines)
