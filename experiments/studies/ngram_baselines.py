"""What does counting predict of the texts that the language models are trained on?

Command:  python experiments/studies/ngram_baselines.py [FILE ...]
          The reference text of CPython, then each FILE, a UTF-8 text such as tinyshakespeare.txt.
Device:   one core; 1 minute for both texts.
Result:   experiments/results/ngram_baselines/rows.jsonl and the table in docs/results.md.

Each record is an interpolated modified Kneser-Ney n-gram of one context length, the number of
characters that a prediction reads. The test part is the last tenth of the text, the validation part
the last tenth of what precedes it. A model is counted on what precedes its validation or test part.
The validation part chooses among the context lengths 5, 6 and 7, which is the baseline of the task
`Text`. The other lengths show what the choice omits.

Expected: on the reference text of CPython 3.11.7 1.205, 1.159 and 1.140 nats per character with 4,
          5 and 6 characters of context, and on tinyshakespeare.txt 1.561, 1.523 and 1.517, as an
          independent program measured (its orders 5, 6 and 7 count the predicted character).
          KenLM 0.3.0 (lmplz -o 5 to 8) agrees with the records to 0.0001.
Paper:    Chen and Goodman (1998) for the method; none for these texts.
"""

import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from rnnlab import provenance, records
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.tables import Table, device_label, print_table
from rnnlab.tasks.readers.text import read_text
from rnnlab.tasks.reference.ngram import CONTEXT_LENGTHS, best_ngram
from rnnlab.tasks.text import default_text, encode

OUT = Path(__file__).parent.parent / "results" / "ngram_baselines" / "rows.jsonl"
MEASURED = range(4, 11)
TEST_FRACTION = 0.1
ROLES = {(True, True): "chosen", (True, False): "candidate", (False, False): ""}
COLUMNS = (
    key_column("text"),
    Column("characters", lambda r: f"{r['characters']:,}"),
    key_column("context_length", "context length"),
    Column("D1, D2, D3+", lambda r: ", ".join(f"{x:.2f}" for x in r["discounts"])),
    Column("valid nll", lambda r: f"{r['valid_nll']:.4f}"),
    Column("test nll", lambda r: f"{r['test_nll']:.4f}"),
    Column("baseline", lambda r: ROLES[r["candidate"], r["chosen"]]),
    Column("seconds", lambda r: f"{r['seconds']:.1f}"),
)


def table(measured: Sequence[records.Record]) -> Table:
    """One table row per text and context length."""
    device = device_label(measured[0])
    title = f"interpolated modified Kneser-Ney, nats per character; {device}"
    return make_table(title, COLUMNS, measured, ())


def measure(name: str, text: str) -> list[records.Record]:
    """Records of every context length for one text."""
    vocabulary = tuple(sorted(set(text)))
    ids = encode(text, vocabulary)
    train, test = np.split(ids, [int(len(ids) * (1 - TEST_FRACTION))])
    measured = []
    for context_length in MEASURED:
        start = time.perf_counter()
        ngram = best_ngram(train, test, len(vocabulary), (context_length,))
        measured.append(
            {
                "benchmark": "ngram_baselines",
                **provenance.environment(jax.devices()[0]),
                "text": name,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
                "characters": len(ids),
                "vocab_size": len(vocabulary),
                "test_fraction": TEST_FRACTION,
                "context_length": context_length,
                "discounts": ngram.test[context_length].discounts,
                "valid_nll": ngram.valid[context_length].nll,
                "test_nll": ngram.nll,
                "seed": 0,
                "seconds": time.perf_counter() - start,
            }
        )
    candidates = [r for r in measured if r["context_length"] in CONTEXT_LENGTHS]
    chosen = min(candidates, key=lambda r: r["valid_nll"])
    return [r | {"candidate": r in candidates, "chosen": r is chosen} for r in measured]


def main() -> int:
    files = [Path(name) for name in sys.argv[1:]]
    texts = [("pydoc_data.topics", default_text())]
    texts += [(path.name, read_text(path)) for path in files]
    measured = [record for name, text in texts for record in measure(name, text)]
    for record in measured:
        records.append(OUT, record)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
