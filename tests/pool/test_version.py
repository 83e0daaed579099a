"""A pool is called by its content."""

from tests.imaging.test_voxel_fingerprint import scan
from tests.pool.conftest import POOL, PREPARATION, TABLE, prepare, write_btcv
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.pool.duplicates import find_duplicates
from tsfm_pipeline.pool.leakage import find_leakage
from tsfm_pipeline.pool.settings import SplitSettings
from tsfm_pipeline.pool.splits import split_cases
from tsfm_pipeline.pool.version import POOL_VERSIONS_SCHEMA, describe_version, pool_version
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.training.describe import describe
from tsfm_pipeline.training.task import TrainingTask

FOLDS = SplitSettings(folds=2, inner_folds=None)
FREE = POOL.model_copy(update={"exclude_downstream": True})


def version_of(prepared, pool=POOL, folds=FOLDS):
    catalogue, store = prepared
    duplicates, _ = find_duplicates(catalogue, store, pool)
    leakage = find_leakage(catalogue, duplicates, pool)
    splits = split_cases(catalogue, duplicates, pool, folds)
    return describe_version(catalogue, leakage, splits, pool, PREPARATION).iloc[0], splits


def test_the_name_follows_the_content_and_not_the_order(catalogue) -> None:
    first = pool_version(catalogue)
    assert pool_version(catalogue.sample(frac=1, random_state=0)) == first
    assert pool_version(catalogue[1:]) != first
    catalogue.loc[0, "raw_digest"] = "other"
    assert pool_version(catalogue) != first


def test_a_leakage_free_pool_is_another_version_that_says_what_it_lacks(prepared) -> None:
    facts = ["kind", "cases", "leaking", "left_out", "datasets"]
    paper, _ = version_of(prepared)
    free, splits = version_of(prepared, FREE)
    assert list(paper[facts]) == ["as in the paper", 9, 5, 0, "btcv 5, kits21 4"]
    assert list(free[facts]) == ["leakage-free", 4, 0, 5, "btcv 2, kits21 2"]
    assert free["version"] != paper["version"]
    assert not set(splits.loc[splits["pool"], "key"]) & {
        *(f"btcv/img000{number}" for number in (1, 2, 3)),
        *(f"kits21/case_0000{number}" for number in (0, 1)),
    }


def test_a_quarantined_case_is_not_left_out_for_leakage(prepared) -> None:
    catalogue = prepared[0].copy()
    catalogue.loc[catalogue["key"] == "kits21/case_00000", "verdict"] = "quarantined"
    row, _ = version_of((catalogue, prepared[1]))
    assert list(row[["cases", "leaking", "left_out"]]) == [8, 4, 0]


def test_the_split_changes_what_is_counted_and_not_the_version(prepared) -> None:
    plain, _ = version_of(prepared)
    nested, splits = version_of(prepared, folds=SplitSettings(folds=2))
    assert nested["version"] == plain["version"]
    assert (plain["test"], nested["test"]) == (0, plain["validation"])
    assert nested["training"] + nested["validation"] == plain["training"]
    assert nested["validation"] == (splits["pool"] & (splits["role"] == "validation")).sum() > 0


def test_a_training_on_the_whole_pool_has_a_digest_that_starts_with_the_version(
    prepared, tmp_path
) -> None:
    row, splits = version_of(prepared)
    ours = splits[splits["pool"]]
    task = TrainingTask(
        name="t",
        settings=TrainingSettings(size="tiny"),
        store=prepared[1].root,
        training=tuple(ours.loc[ours["role"] == "training", "key"]),
        validation=tuple(ours.loc[ours["role"] == "validation", "key"]),
        table=TABLE,
        regions=("liver", "kidney"),
        pool_version=row["version"],
    )
    card = describe(task, task.records(), ModelFolder(tmp_path), resumed=False)
    assert card.pool_digest.startswith(row["version"])
    assert card.pool_version == row["version"]
    assert list(row.index) == POOL_VERSIONS_SCHEMA.names


def test_a_new_case_makes_a_new_version(raw, prepared, tmp_path) -> None:
    import shutil

    more = tmp_path / "raw"
    shutil.copytree(raw, more)
    write_btcv(more, 6, scan(15).astype("int16"))
    store = CaseStore(tmp_path / "store")
    assert version_of(prepare(more, store))[0]["version"] != version_of(prepared)[0]["version"]
