"""Planted duplicates are found under other names, and strangers are not."""

import pandas as pd
import pyarrow as pa

from tests.pool.conftest import POOL
from tsfm_pipeline.pool.duplicates import find_duplicates
from tsfm_pipeline.pool.leakage import LEAKAGE_SCHEMA, find_leakage, leaking_cases


def leakage_of(catalogue, store, pool=POOL) -> pd.DataFrame:
    duplicates, _ = find_duplicates(catalogue, store, pool)
    return find_leakage(catalogue, duplicates, pool)


def test_planted_duplicates_are_found_by_the_surest_evidence(prepared) -> None:
    found = leakage_of(*prepared)
    pairs = {(row.pool_key, row.downstream_key): row.evidence for row in found.itertuples()}
    assert pairs == {
        ("kits21/case_00000", "kits19/case_00000"): "id",
        ("kits21/case_00001", "kits19/case_00001"): "id",
        ("btcv/img0001", "flare/FLARE22_Tr_0001"): "digest",  # turned, float
        ("btcv/img0002", "flare/FLARE22_Tr_0002"): "thumbnail",  # re-spaced
        ("btcv/img0003", "flare/FLARE22_Tr_0003"): "thumbnail",  # 8 bits, a slice less
    }
    assert found["correlation"].between(POOL.duplicate_correlation, 1).all()
    pa.Table.from_pandas(found, schema=LEAKAGE_SCHEMA, preserve_index=False)


def test_a_stranger_stays_below_the_threshold_and_the_nearest_is_to_be_looked_at(prepared) -> None:
    everybody = POOL.model_copy(update={"duplicate_correlation": 0.65})
    assert len(leakage_of(*prepared, everybody)) == 5
    _, doubtful = find_duplicates(*prepared, POOL)
    assert list(doubtful["other_key"]) == ["flare/FLARE22_Tr_0004"]  # smooth, as the re-spaced one


def test_a_quarantined_case_is_compared_with_nobody(prepared) -> None:
    catalogue, store = prepared
    bad = catalogue.copy()
    bad.loc[bad["key"] == "btcv/img0001", "verdict"] = "quarantined"
    assert "btcv/img0001" not in set(leakage_of(bad, store)["pool_key"])


def test_without_downstream_there_is_an_empty_table(prepared) -> None:
    found = leakage_of(*prepared, POOL.model_copy(update={"downstream": ()}))
    assert found.empty
    assert list(found.columns) == LEAKAGE_SCHEMA.names
    pa.Table.from_pandas(found, schema=LEAKAGE_SCHEMA, preserve_index=False)


def test_another_scan_of_a_downstream_person_leaks(make_catalogue) -> None:
    cases = make_catalogue({"btcv": ["p", "p", "q", "r"], "flare": ["x", "y"]})
    leakage = pd.DataFrame(
        [("btcv/0", "flare/0"), ("btcv/2", "flare/0")], columns=["pool_key", "downstream_key"]
    )
    assert list(leaking_cases(cases, leakage, POOL)) == [True, True, True, False, False, False]
