"""What people see of a look at the fleet: a table with a row per difference."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import create_table_artifact

from edge.model.drift import DriftLook
from edge.policy.drift_report import sentence, table_rows

MOST_ROWS = 2000
"""An artifact is one document on the server; the ledger has everything."""


def publish_drift(looks: Sequence[DriftLook]) -> None:
    """Write the table of what differs and of what could not be looked at."""
    rows = table_rows(looks)
    said = sentence(looks)
    if len(rows) > MOST_ROWS:
        said += f"; the first {MOST_ROWS} of {len(rows)} rows are shown, `edge drift list` has all"
    create_table_artifact(table=rows[:MOST_ROWS], key="drift", description=said)
