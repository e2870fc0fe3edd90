"""Small results of runs, for the tests of tables, sentences and figures."""

from rnnlab.records import Record


def result(value, seed=0, metric="nll", baselines=None, data=None, **model) -> Record:
    """Returns a result whose reported metric is `value`; `model` are the settings that vary."""
    cell = model.get("cell", "gru")
    return {
        "experiment": "toy",
        "preset": "cpu",
        "cell": cell,
        "seed": seed,
        "metric": metric,
        "metrics": {"valid": {metric: 9.0}, "test": {metric: value}},
        "grid": {f"model.{name}": x for name, x in model.items()} | {"train.seed": seed},
        "data": data or {},
        "model": model,
        "train": {"steps": 100, "seed": seed},
        "data_fingerprint": str(data),
        "baselines": baselines or {"uniform": {metric: 3.0}, "n-gram": {metric: 1.5}},
        "curve": [[0, 0.5, 4.0], [50, 1.0, 2.0 + seed], [100, 2.0, value]],
        "parameters": 1000,
        "state_bytes": 64,
        "best_step": 50 * (1 + seed),
        "seconds_to_best": 1.0,
        "tokens_per_second": 5000.0,
        "device": "cpu",
        "platform": "cpu",
        "processor": "AMD EPYC",
        "cores": 2,
        "versions": {"jax": "0.10.2"},
    }
