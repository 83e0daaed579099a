"""What a pool is called: a name made of its content, and a row about it for the list of pools."""

from datetime import UTC, datetime
from typing import get_args

import pandas as pd
import pyarrow as pa

from tsfm_pipeline.pool.leakage import leaking_cases
from tsfm_pipeline.pool.roles import Role
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.preparation.identity import PREPARATION_VERSION
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.preparation.verdict import Verdict
from tsfm_pipeline.store.record import cases_digest

POOL_VERSIONS_SCHEMA = pa.schema(
    [
        pa.field("version", pa.string(), nullable=False),
        pa.field("date", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("cases", pa.int64(), nullable=False),
        pa.field("training", pa.int64(), nullable=False),
        pa.field("validation", pa.int64(), nullable=False),
        pa.field("leaking", pa.int64(), nullable=False),
        pa.field("left_out", pa.int64(), nullable=False),
        pa.field("datasets", pa.string(), nullable=False),
        pa.field("downstream", pa.string(), nullable=False),
        pa.field("preparation", pa.string(), nullable=False),
        pa.field("test", pa.int64()),  # nothing in rows older than this role
    ]
)

AS_IN_THE_PAPER, LEAKAGE_FREE = "as in the paper", "leakage-free"


def pool_version(cases: pd.DataFrame) -> str:
    """Name a pool by its content: which cases, from which bytes, prepared how.

    Args:
        cases: rows of the pool catalogue that are in the pool; the order changes nothing.
    """
    columns = (cases[name] for name in ("key", "raw_digest", "preparation_digest"))
    return cases_digest(zip(*columns, strict=True))[:8]


def describe_version(
    catalogue: pd.DataFrame,
    leakage: pd.DataFrame,
    splits: pd.DataFrame,
    pool: PoolSettings,
    preparation: PreparationSettings,
) -> pd.DataFrame:
    """Return the row of this pool for the list of pool versions.

    `leaking` counts its cases whose patient is downstream too; `kind` is `leakage-free` when
    there are none. `left_out` counts those that `exclude_downstream` took away.
    """
    usable = catalogue[catalogue["verdict"] == Verdict.OK]
    used = usable[usable["key"].isin(splits["key"])]
    leaking = int(leaking_cases(used, leakage, pool).sum())
    left_out = int(leaking_cases(usable, leakage, pool).sum()) - leaking
    ours = splits[splits["pool"]]
    counts = ours["dataset"].value_counts().reindex(pool.datasets, fill_value=0)
    made = preparation.model_dump(mode="json")
    row = {
        "version": splits["pool_version"].iat[0],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "kind": AS_IN_THE_PAPER if leaking else LEAKAGE_FREE,
        "cases": len(ours),
        **{role: int((ours["role"] == role).sum()) for role in get_args(Role)},
        "leaking": leaking,
        "left_out": left_out,
        "datasets": ", ".join(f"{name} {count}" for name, count in counts.items()),
        "downstream": ", ".join(pool.downstream),
        "preparation": ", ".join(
            f"{name} {value}" for name, value in {"version": PREPARATION_VERSION, **made}.items()
        ),
    }
    return pd.DataFrame([row], columns=POOL_VERSIONS_SCHEMA.names)
