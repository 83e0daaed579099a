"""Make the synthetic data: plan every file, own the folder, render case by case."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from tsfm_pipeline.imaging.geometry import Geometry, canonical_reorientation
from tsfm_pipeline.imaging.nifti_writing import write_nifti
from tsfm_pipeline.phantom.contrast import CONTRASTS
from tsfm_pipeline.phantom.landmarks import find_landmarks
from tsfm_pipeline.phantom.layouts import PLANNERS
from tsfm_pipeline.phantom.ownership import Marker, clear, file_sizes, read_marker
from tsfm_pipeline.phantom.patient import scan_patient
from tsfm_pipeline.phantom.plan import PhantomCase
from tsfm_pipeline.phantom.rendering import paint_images, paint_labels, paint_structures
from tsfm_pipeline.phantom.settings import PhantomSettings
from tsfm_pipeline.workers import WorkerFailure, WorkerSettings, run_cases

ONE_PER_CORE = WorkerSettings()


class PhantomError(ValueError):
    """Synthetic data that can't be made."""


def generate_phantoms(
    settings: PhantomSettings, root: Path, workers: WorkerSettings = ONE_PER_CORE
) -> list[dict[str, Any]]:
    """Write the synthetic datasets below `root` in the public layouts, unless they are there.

    Args:
        settings: what to make.
        root: an empty or missing folder, or one that this function made.
        workers: how many cases are rendered at once.

    Returns:
        One row per labelled case: dataset, case, seed, and landmarks (see `find_landmarks`).

    Raises:
        PhantomFolderError: `root` holds anything that this function did not write.
        PhantomError: a case could not be written, on a full disk for instance.
    """
    marker = read_marker(root)
    plans = [PLANNERS[dataset](count) for dataset, count in settings.cases.items()]
    paths = [path for plan in plans for path in plan.paths]
    if marker and marker.digest == settings.digest and marker.is_intact(root, paths):
        return marker.manifest
    if marker:
        clear(root, marker)
    root.mkdir(parents=True, exist_ok=True)
    started = Marker(
        digest=settings.digest,
        complete=False,
        settings=settings.model_dump(),
        files=dict.fromkeys(paths, 0),
    )
    started.write(root)
    for plan in plans:
        for path, content in plan.texts.items():
            file = root / plan.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    tasks = {
        f"{plan.folder}/{number}": (case, root / plan.folder, settings.seed, settings.spacing_scale)
        for plan in plans
        for number, case in enumerate(plan.cases)
    }
    rows: dict[str, dict[str, Any] | None] = {}
    for key, outcome in run_cases(write_case, tasks, workers, "Rendering phantoms"):
        if isinstance(outcome, WorkerFailure):
            raise PhantomError(f"{root / key}: {outcome.cause}")
        rows[key] = outcome
    manifest = [row for row in (rows[key] for key in tasks) if row is not None]
    done = started.model_copy(
        update={"complete": True, "files": file_sizes(root, paths), "manifest": manifest}
    )
    done.write(root)
    return manifest


def write_case(
    case: PhantomCase, folder: Path, seed: int, spacing_scale: float
) -> dict[str, Any] | None:
    """Render and write one case; return its manifest row, None for a case without label."""
    scanned = scan_patient(case, seed, spacing_scale)
    anatomy, grid = scanned.anatomy, scanned.geometry
    reorientation = canonical_reorientation(grid)
    canonical = reorientation.apply_to_geometry(grid)
    image_rng, landmark_rng = np.random.default_rng(scanned.seed + 1).spawn(2)
    contrasts = [CONTRASTS[file.contrast] for file in case.images]
    images = paint_images(anatomy, canonical, contrasts, image_rng)
    for image_file, contrast, image in zip(case.images, contrasts, images, strict=True):
        values = image * scanned.gain if contrast.magnitude else np.rint(image)
        if image_file.dtype == "int16":
            values = np.rint(values)
        array = reorientation.invert(values.astype(image_file.dtype))
        _write(folder / image_file.path, array, grid)
    painted: dict[float, NDArray[np.int16]] = {}
    for label_file in case.labels:
        grow = label_file.grow
        if grow not in painted:
            painted[grow] = paint_structures(anatomy, canonical, grow)
        labels = paint_labels(anatomy, painted[grow], label_file.values)
        _write(
            folder / label_file.path, reorientation.invert(labels.astype(label_file.dtype)), grid
        )
    if not case.labels:
        return None
    return {
        "dataset": case.dataset,
        "case": case.case,
        "seed": scanned.seed,
        "landmarks": find_landmarks(scanned, case.annotated, landmark_rng),
    }


def _write(path: Path, array: NDArray[np.generic], grid: Geometry) -> None:
    """Write a (z, y, x) array of the file's own orientation as NIfTI."""
    volume = sitk.GetImageFromArray(np.ascontiguousarray(array))
    volume.SetSpacing(grid.spacing[::-1])
    volume.SetOrigin(grid.origin)
    volume.SetDirection([value for row in grid.direction for value in row])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, volume)
