"""The published claims about minimal and classic cells, and what the committed records show.

Command:  python tools/update_tables.py    (it writes the table of docs/claims.md)

Every measured number is computed from records.
"""

from collections.abc import Sequence

from claims_cost import (
    batch_size_claim,
    constant_cost_claim,
    faster_claim,
    log_space_claim,
    parameters_claim,
    transformer_claim,
)
from claims_evidence import Claim
from claims_training import (
    eigenvalues_claim,
    mamba_claim,
    selective_copying_claim,
    short_memory_claim,
    stacking_and_parallelism_claim,
)
from committed_records import committed_records

from rnnlab.tables import Table, device_labels

HEADINGS = (
    "claim",
    "original setting",
    "measured here, original setting",
    "measured here, against strongest baseline",
    "limits of the evidence",
    "command",
    "records",
    "verdict",
)


def claims_table() -> Table:
    """One table row per claim."""
    claims = _claims()
    files = dict.fromkeys(f for claim in claims for f in claim.records.split(", ") if f)
    used = [record for file in files for record in committed_records(file)]
    return Table(device_labels(used), HEADINGS, [tuple(claim) for claim in claims])


def _claims() -> Sequence[Claim]:
    return (
        faster_claim("mingru", "gru", 512, "175x"),
        faster_claim("minlstm", "lstm", 512, "235x"),
        faster_claim("mingru", "gru", 4096, '1324x ("three years become one day")'),
        faster_claim("minlstm", "lstm", 4096, "1361x"),
        Claim(
            "The GRU trains 175x faster",
            "often quoted; in arXiv 2410.01201 it is the factor of minGRU relative to the GRU",
            *[""] * 5,
            "Wrong: the GRU is the slower cell of that comparison.",
        ),
        parameters_claim(),
        mamba_claim(),
        transformer_claim(),
        constant_cost_claim(),
        short_memory_claim(),
        eigenvalues_claim(),
        batch_size_claim(),
        stacking_and_parallelism_claim(),
        selective_copying_claim(),
        log_space_claim(),
    )
