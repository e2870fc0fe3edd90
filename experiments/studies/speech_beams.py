"""Does a beam search transcribe speech better than greedy decoding, by CTC and by a transducer?

Command:  python experiments/studies/speech_beams.py RUN [RUN ...]
Data:     rnnlab data get an4 --from FOLDER
Device:   two cores of a shared x86 machine, two minutes per run.
Result:   experiments/results/speech_beams/rows.jsonl, shown in docs/results.md.
Paper:    Graves, arXiv 1211.3711 (beam search of transducers); Graves et al., ICML 2006 (of CTC).
Expected: a CER of CTC that a beam of 8 lowers by less than 0.01, since its paths are confident;
          that of a transducer falls more, by a third or more if its emissions are spread over many
          time steps, and no more beyond a beam of 4.

A RUN is one of experiments/training/speech.py. There is no language model. A beam of 1 is greedy
decoding.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from rnnlab import provenance, records
from rnnlab.bench.base import Column, make_table
from rnnlab.models.decoding.ctc import ctc_decode
from rnnlab.plotting import cell_label
from rnnlab.records import Record
from rnnlab.runs.api import load_run
from rnnlab.runs.trained_model import TrainedModel, load
from rnnlab.tables import Table, device_labels, print_table
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.reference.text_scores import cer, wer
from rnnlab.train.model_call import call_model

OUT = Path(__file__).parent.parent / "results" / "speech_beams" / "rows.jsonl"
BEAMS = (1, 2, 4, 8)

COLUMNS = (
    Column("cell", lambda r: cell_label(r["cell"])),
    Column("loss", lambda r: r["loss"]),
    Column("seed", lambda r: str(r["seed"])),
    Column("beam", lambda r: str(r["beam"])),
    Column("WER", lambda r: f"{r['wer']:.3f}"),
    Column("CER", lambda r: f"{r['cer']:.3f}"),
    Column("ms per time step", lambda r: f"{1e3 * r['seconds'] / r['time_steps']:.3f}"),
)


def decode(trained: TrainedModel, batch: Batch, beam: int, max_length: int) -> np.ndarray:
    """Returns the most likely labels of each utterance, (batch, label_time), negative after them.

    Args:
      trained: a run.
      batch: utterances.
      beam: number of hypotheses; 1 is greedy.
      max_length: greatest number of labels.
    """
    if trained.data.loss == "transducer":
        found = trained.model.decode(batch.inputs, batch.mask, max_length=max_length, beam=beam)
        return np.asarray(found.labels[:, 0])
    _, logits = call_model(trained.model, (), batch)
    if beam == 1:
        return np.asarray(logits)  # which the task decodes greedily
    found = ctc_decode(logits, mask=batch.mask, beam=beam, max_labels=max_length)
    return np.asarray(found.labels[:, 0])


def measure(folder: Path) -> Iterator[Record]:
    """Yields a record per beam."""
    _, _, experiment = load_run(folder)
    trained = load(folder)
    trained.model.eval()
    batches = list(trained.data.eval_sets["test"]())
    max_length = 2 * max(int((batch.labels >= 0).sum(1).max()) for batch in batches)
    for beam in BEAMS:
        decode(trained, batches[0], beam, max_length)  # compiles
        begun, pairs = time.perf_counter(), []
        for batch in batches:
            pairs += trained.data.decode(decode(trained, batch, beam, max_length), batch)
        seconds = time.perf_counter() - begun
        predicted, texts = zip(*pairs, strict=True)
        yield {
            "benchmark": "speech_beams",
            **provenance.environment(jax.devices()[0]),
            "cell": experiment.model.cell,
            "loss": trained.data.loss,
            "seed": experiment.train.seed,
            "beam": beam,
            "wer": wer(predicted, texts),
            "cer": cer(predicted, texts),
            "seconds": seconds,
            "time_steps": int(sum(batch.mask.sum() for batch in batches)),
        }


def table(measured: Sequence[Record]) -> Table:
    """One table row per run and beam."""
    return make_table(device_labels(list(measured)), COLUMNS, measured, ())


def main(folders: Sequence[Path]) -> int:
    measured = []
    for folder in folders:
        print(folder.name, flush=True)
        for record in measure(folder):
            records.append(OUT, record)
            measured.append(record)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
