"""One label map of target integers from a case's label files, and back."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.files.folder import atomic_folder
from tsfm_pipeline.imaging.geometry import Geometry, Reorientation
from tsfm_pipeline.imaging.labels import BACKGROUND, LabelError, LabelTable, remap_values
from tsfm_pipeline.imaging.volume import ImageVolume, read_label, write_label
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase

CLASS_FOLDER = "segmentations"
SUFFIX = ".nii.gz"


def read_targets(
    case: SourceCase, source: Source, table: LabelTable, image: ImageVolume
) -> NDArray[np.uint8]:
    """Read a case's label files into one (z, y, x) map of target integers.

    Raises:
        LabelError: a value or class that the source's `labels` does not list; names the file.
        VolumeError: a file is unreadable or of another shape than the image.
    """
    targets_ZYX = np.zeros(image.geometry.shape, np.uint8)
    for label, values in files_to_paint(case, source, table):
        painted_ZYX = remap_values(read_label(label.path, image), values, str(label.path))
        np.copyto(targets_ZYX, painted_ZYX, where=painted_ZYX != BACKGROUND)
    return targets_ZYX


def files_to_paint(
    case: SourceCase, source: Source, table: LabelTable
) -> list[tuple[LabelFile, dict[int, int]]]:
    """Return the label files that make a case's map, each with its values' target integers.

    An integer map is remapped. Masks of single classes are painted in the order of the source's
    `labels`, so a later class wins where two overlap. Targets that cases of this modality do not
    annotate become background; masks of nothing else are left out.

    Raises:
        LabelError: a class that the source's `labels` does not list; names the file.
    """
    mapping = source.value_mapping(table)
    annotated = source.annotated_targets(case.modality, table)
    kept = {table.id_of(name) for name in annotated}
    mapping = {key: value if value in kept else BACKGROUND for key, value in mapping.items()}
    values = {key: value for key, value in mapping.items() if isinstance(key, int)}
    order = list(mapping)
    for label in case.labels:
        if label.class_name is not None and label.class_name not in mapping:
            raise LabelError(
                f"{label.path}: class {label.class_name!r} is not in"
                f" datasets.{case.dataset}.labels; map it to a target, or to null to drop it"
            )
    files = sorted(case.labels, key=lambda f: order.index(f.class_name) if f.class_name else -1)
    painted = []
    for file in files:
        if file.class_name is None:
            painted.append((file, values))
        elif mapping[file.class_name] != BACKGROUND:
            painted.append((file, {1: mapping[file.class_name]}))
    return painted


def prediction_path(folder: Path, case: str, source: Source) -> Path:
    """Return where a case's prediction lies: a label map, or a folder of class masks."""
    return folder / case / CLASS_FOLDER if source.class_files else folder / f"{case}{SUFFIX}"


def write_targets(
    path: Path,
    targets_ZYX: NDArray[np.uint8],
    targets: Sequence[str],
    source: Source,
    table: LabelTable,
    like: tuple[Geometry, Reorientation],
) -> None:
    """Write a label map as its dataset would: only its targets, in its own values.

    Args:
        path: see `prediction_path`; it appears complete or not at all.
        targets_ZYX: target integers, canonical, uncropped; other values than those of `targets`
            become background.
        targets: those to write, all listed in the source's `labels`. Where the dataset has a file
            per class, each gets one, empty or not.
        source: the dataset.
        table: the fused label table.
        like: `file_geometry` and `reorientation` of the image.
    """
    values = source.source_values(table)
    wanted = {table.id_of(name): values[table.id_of(name)] for name in targets}
    if not source.class_files:
        written = [BACKGROUND, *map(int, wanted.values())]
        kinds = (np.min_scalar_type(bound) for bound in (min(written), max(written)))
        lookup = np.zeros(256, np.result_type(*kinds))
        for target, value in wanted.items():
            lookup[target] = value
        write_label(path, lookup[targets_ZYX], like)
        return
    with atomic_folder(path) as folder:
        for target, name in wanted.items():
            write_label(folder / f"{name}{SUFFIX}", (targets_ZYX == target).view(np.uint8), like)


def read_prediction(
    path: Path, case: SourceCase, source: Source, table: LabelTable, image: ImageVolume
) -> NDArray[np.uint8]:
    """Read what `write_targets` wrote, as (z, y, x) target integers on the image's canonical grid.

    Raises:
        LabelError, VolumeError: see `read_targets`.
    """
    files: tuple[LabelFile, ...] = (LabelFile(path),)
    if source.class_files:
        masks = sorted(path.glob(f"*{SUFFIX}"))
        files = tuple(LabelFile(mask, mask.name.removesuffix(SUFFIX)) for mask in masks)
    return read_targets(replace(case, labels=files), source, table, image)
