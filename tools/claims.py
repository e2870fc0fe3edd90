"""The published claims about minimal and classic cells, and what the committed records show.

Command:  python tools/update_tables.py    (it writes the tables of docs/claims.md)

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
from page_tables import details, plain

from rnnlab.tables import Table, device_labels

HEADINGS = (
    "claim",
    "verdict",
    "measured here, original setting",
    "measured here, against strongest baseline",
)


def claims_table() -> Table:
    """One table row per claim: the verdict and the measured numbers."""
    claims = _claims()
    files = dict.fromkeys(f for claim in claims for f in claim.records.split(", ") if f)
    used = [record for file in files for record in committed_records(file)]
    lines = [(c.claim, c.verdict, c.in_original_setting, c.against_baseline) for c in claims]
    return Table(device_labels(used), HEADINGS, lines)


def evidence() -> str:
    """The source of each claim, and the command and the limits of what was measured, folded."""
    return "\n\n".join(
        details(
            plain(claim.claim),
            "\n".join(
                f"- **{name}**: {text}"
                for name, text in (
                    ("original setting", claim.original_setting),
                    ("limits of the evidence", claim.limits),
                    ("command", claim.command),
                    ("records", claim.records),
                )
                if text
            ),
        )
        for claim in _claims()
    )


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
