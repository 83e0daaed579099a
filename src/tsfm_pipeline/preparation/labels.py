"""One label map of target integers from a case's label files."""

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.labels import BACKGROUND, LabelError, LabelTable, remap_values
from tsfm_pipeline.imaging.volume import ImageVolume, read_label
from tsfm_pipeline.sources.source import Source, SourceCase


def read_targets(
    case: SourceCase, source: Source, table: LabelTable, image: ImageVolume
) -> NDArray[np.uint8]:
    """Read a case's label files into one (z, y, x) map of target integers.

    An integer map is remapped. Masks of single classes are painted in the order of the source's
    `labels`, so a later class wins where two overlap. Targets that cases of this modality do not
    annotate become background.

    Raises:
        LabelError: a value or class that the source's `labels` does not list; names the file.
        VolumeError: a file is unreadable or of another shape than the image.
    """
    mapping = source.value_mapping(case.dataset, table)
    annotated = source.annotated_targets(case.dataset, case.modality, table)
    kept = {table.id_of(name) for name in annotated}
    mapping = {key: value if value in kept else BACKGROUND for key, value in mapping.items()}
    values = {key: value for key, value in mapping.items() if isinstance(key, int)}
    order = list(mapping)
    targets_ZYX = np.zeros(image.geometry.shape, np.uint8)
    for label in case.labels:
        if label.class_name is not None and label.class_name not in mapping:
            raise LabelError(
                f"{label.path}: class {label.class_name!r} is not in"
                f" datasets.{case.dataset}.labels; map it to a target, or to null to drop it"
            )
    files = sorted(case.labels, key=lambda f: order.index(f.class_name) if f.class_name else -1)
    for label in files:
        target = None if label.class_name is None else mapping[label.class_name]
        if target == BACKGROUND:
            continue
        file_values = values if target is None else {1: target}
        painted_ZYX = remap_values(read_label(label.path, image), file_values, str(label.path))
        np.copyto(targets_ZYX, painted_ZYX, where=painted_ZYX != BACKGROUND)
    return targets_ZYX
