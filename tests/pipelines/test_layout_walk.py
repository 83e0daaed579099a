"""From every public layout to a pool sample and back, at points whose target is known.

The points come from the generator's analytic anatomy, in world coordinates; files are looked up
through nibabel's affine, which shares no code with this project's geometry.
"""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

from tsfm_pipeline.imaging.labels import OUTSIDE, LabelTable
from tsfm_pipeline.imaging.volume import write_label
from tsfm_pipeline.inference.export import OriginalGrid, export_case
from tsfm_pipeline.phantom.generate import generate_phantoms
from tsfm_pipeline.phantom.layouts import PLANNERS
from tsfm_pipeline.phantom.settings import PhantomSettings
from tsfm_pipeline.preparation.prepare import prepare_case
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources import Datasets, SourceCase
from tsfm_pipeline.sources.case_index import build_case_index, case_from_row
from tsfm_pipeline.store.case_store import CaseStore

BASE = Path(__file__).parents[2] / "conf" / "base"
DATASETS = Datasets.model_validate(
    yaml.safe_load((BASE / "parameters_datasets.yml").read_text())["datasets"]
)
TABLE = LabelTable.model_validate(
    yaml.safe_load((BASE / "parameters_labels.yml").read_text())["labels"]
)
CASES = {name: 2 for name in PLANNERS} | {"amos22": 3}  # a CT and an MR of AMOS
POOL = PreparationSettings(target_spacing=(3.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    root = tmp_path_factory.mktemp("walk") / "phantom"
    settings = PhantomSettings(cases=CASES, spacing_scale=1.0, seed=7)
    return root, generate_phantoms(settings, root)


def at_world(path: Path, point_lps: list[float]) -> int:
    """Return a file's value at the voxel nearest to a world point; NIfTI worlds are RAS."""
    image = nibabel.load(path)
    ras = np.array([-point_lps[0], -point_lps[1], point_lps[2], 1.0])
    index = np.rint(np.linalg.inv(image.affine) @ ras)[:3].astype(int)
    return int(np.rint(image.dataobj[tuple(index)]))


def in_files(case: SourceCase, point: list[float]) -> str:
    """Return the target that a case's raw label files give a point."""
    mapping = DATASETS.root[case.dataset].labels
    found = ""
    for label in case.labels:
        value = at_world(label.path, point)
        if label.class_name is None:
            found = (mapping[value] or "") if value else ""
        elif value:
            found = mapping[label.class_name] or ""
    return found


@pytest.mark.parametrize("dataset", list(PLANNERS))
def test_the_label_at_a_known_point_is_the_right_target(dataset, walk, tmp_path) -> None:
    root, manifest = walk
    index = build_case_index(DATASETS.root, [dataset], root)
    cases = {case.case: case for case in (case_from_row(row) for _, row in index.iterrows())}
    # AMOS's validation part is on disk, too, but not in the pool by default
    rows = [row for row in manifest if row["dataset"] == dataset and row["case"] in cases]
    assert len(rows) == len(cases) == CASES[dataset]
    store = CaseStore(tmp_path / "store")
    seen = set()
    for row in rows:
        case = cases[row["case"]]
        record = prepare_case(case, DATASETS.root[dataset], TABLE, POOL, store)
        back = tmp_path / "back" / f"{case.case}.nii.gz"
        regions = TABLE.regions_annotated_by(record.annotated)
        labels = store.read_labels(case.key)
        masks = np.stack([np.isin(labels, TABLE.region_ids(name)) for name in regions])
        grid = OriginalGrid.of(record)
        exported = export_case(masks.astype(np.float32), grid, regions, TABLE)
        write_label(back, exported, (record.file_geometry, record.reorientation))
        for landmark in row["landmarks"]:
            point, target = landmark["point"], landmark["target"]
            assert in_files(case, point) == target, (case.key, "file", landmark)
            voxel = np.rint(record.geometry.world_to_index(point)).astype(int)
            _, patch, _ = store.read_patch(case.key, tuple(int(v) for v in voxel - 2), (5, 5, 5))
            stored = int(patch[2, 2, 2])
            expected = TABLE.id_of(target) if target else 0
            assert (0 if stored == OUTSIDE else stored) == expected, (case.key, "pool", landmark)
            assert at_world(back, point) == expected, (case.key, "back", landmark)
            seen.add(target)
    annotated = {name for name in DATASETS.root[dataset].labels.values() if name}
    assert seen - {""} >= {name for name in annotated if "tumor" not in name and "cyst" not in name}
    assert seen & annotated
