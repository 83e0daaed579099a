"""Target spacing and plans within the data pool pipeline."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tsfm_pipeline.planning.dataset_plan import DatasetPlan
from tsfm_pipeline.planning.target_spacing import choose_target_spacing
from tsfm_pipeline.store.case_store import CaseStore

WORKSPACE = "test"


@pytest.fixture(scope="module")
def project(make_project) -> Path:
    return make_project()


def small_pool(project: Path, spacing) -> None:
    """Leave two datasets in the pool and one downstream; set the target spacing."""
    folder = project / "conf" / "test"
    pool = {"datasets": ["msd_liver", "breast"], "downstream": ["brats2020"]}
    (folder / "parameters_datasets.yml").write_text(json.dumps({"pool": pool}))
    (folder / "parameters_data_pool.yml").write_text(
        json.dumps({"preparation": {"target_spacing": spacing}, "splits": {"folds": 2}})
    )


def records(project: Path) -> dict[str, tuple[str, list[int]]]:
    """Return how every stored case was prepared, and when its files were written."""
    store = CaseStore(project / "data/03_primary" / WORKSPACE / "cases")
    return {
        key: (
            store.record(key).preparation_digest,
            sorted(path.stat().st_mtime_ns for path in (store.root / key).iterdir()),
        )
        for key in store.keys()
    }


def test_the_median_is_that_of_the_pool_and_equals_the_same_spacing_fixed(project, run_kedro):
    small_pool(project, "median")
    run_kedro(project, "data_pool")
    chosen = json.loads(
        (project / "data/02_intermediate" / WORKSPACE / "target_spacing.json").read_text()
    )
    integrity = pd.read_parquet(project / "data/02_intermediate" / WORKSPACE / "integrity.parquet")
    pool = integrity[integrity["dataset"] != "brats2020"]
    expected = choose_target_spacing([*map(tuple, pool["spacing"])], [*pool["cropped_shape"]])
    assert chosen["spacing"] == list(expected.spacing)
    before = records(project)
    assert len(before) == 6

    small_pool(project, chosen["spacing"])
    run_kedro(project, "data_pool")
    assert records(project) == before  # not one case was prepared again


def test_every_dataset_has_a_plan_file_with_reasons(project):
    folder = project / "data/05_model_input" / WORKSPACE / "plans"
    assert {path.stem for path in folder.iterdir()} == {"msd_liver", "breast", "brats2020"}
    plan = DatasetPlan.model_validate_json((folder / "brats2020.json").read_text())
    assert plan.nnunet.normalisation == {"MR": "z-score in the nonzero mask"}
    assert plan.stored.fullres.spacing != plan.nnunet.fullres.spacing
    assert all(side % 16 == 0 for side in plan.tsfm.patch)
    assert all(plan.tsfm.reasons.values())
