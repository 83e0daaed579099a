"""The table of what became of each experiment."""

from pathlib import Path

import pandas as pd

from tsfm_pipeline.catalog import CheckedTableDataset
from tsfm_pipeline.experiments.outcome import Outcome, collect_statuses


def test_a_table_of_before_the_pools_version_was_kept_is_read(tmp_path: Path) -> None:
    path = tmp_path / "transfer_statuses.parquet"
    schema = "tsfm_pipeline.experiments.outcome.STATUSES_SCHEMA"
    table = CheckedTableDataset(filepath=str(path), schema=schema)
    old = {"experiment": ["transfer.a"], "status": ["finished"], "reason": [""]}
    pd.DataFrame(old).to_parquet(path, index=False)
    assert table.load()["pool_version"].isna().all()

    scored = {"experiment": "transfer.a", "stage": "scoring", "status": "finished"}
    unknown, known = Outcome(**scored), Outcome(**scored, pool_version="1a2b3c4d")
    table.save(collect_statuses(unknown, known))
    assert table.load()["pool_version"].isna().tolist() == [True, False]
    assert table.load()["pool_version"].iat[1] == "1a2b3c4d"
