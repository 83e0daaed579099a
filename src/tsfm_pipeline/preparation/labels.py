"""One label map of target integers from a case's label files."""

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.labels import BACKGROUND, LabelError, LabelTable, remap_values
from tsfm_pipeline.imaging.volume import ImageVolume, read_label
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase


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
    mapping = source.value_mapping(case.dataset, table)
    annotated = source.annotated_targets(case.dataset, case.modality, table)
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
