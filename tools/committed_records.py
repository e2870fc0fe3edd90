"""The committed records of the experiments, for the tables, figures and claims."""

from pathlib import Path

from rnnlab.records import Record, read

RESULTS = Path(__file__).parent.parent / "experiments" / "results"


def committed_records(name: str) -> list[Record]:
    """The records of an experiment.

    Records of language models from before the Kneser-Ney n-gram hold a 5-gram with absolute
    discounting, a weaker baseline. It is replaced by the Kneser-Ney n-gram of the same text.
    """
    return [_with_kneser_ney(record) for record in _read(name)]


def ngram_nll(record: Record) -> float:
    """Loss of the Kneser-Ney n-gram on the text of a language model's record."""
    (nll,) = [
        ngram["test_nll"]
        for ngram in _read("ngram_baselines")
        if ngram["chosen"] and ngram["sha256"] == record["data_fingerprint"]
    ]
    return nll


def _with_kneser_ney(record: Record) -> Record:
    if "5-gram" not in record.get("baselines", {}):
        return record
    others = {name: values for name, values in record["baselines"].items() if name != "5-gram"}
    return record | {"baselines": others | {"Kneser-Ney n-gram": {"nll": ngram_nll(record)}}}


def _read(name: str) -> list[Record]:
    return list(read(RESULTS / name / "rows.jsonl"))
