"""A page of one case in the viewer: as it is prepared, or a prediction over its reference."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tsfm_pipeline.evaluation.metrics import dice
from tsfm_pipeline.imaging.labels import BACKGROUND, OUTSIDE, LabelTable
from tsfm_pipeline.imaging.volume import ImageVolume, read_image
from tsfm_pipeline.preparation.labels import read_prediction, read_targets
from tsfm_pipeline.scans.measures import measure_targets
from tsfm_pipeline.scans.page import Reference, write_page
from tsfm_pipeline.scans.record import ScanRecord
from tsfm_pipeline.sources.source import Source, SourceCase
from tsfm_pipeline.store.case_store import CaseStore


def page_name(key: str, *predicted_by: str) -> str:
    """Return the file name of a case's page.

    >>> page_name("kits19/case_00000", "pretrain.tsfm", "best")
    'kits19_case_00000_pretrain.tsfm_best.html'
    """
    return "_".join([*key.split("/"), *predicted_by]) + ".html"


def write_prepared_page(path: Path, store: CaseStore, key: str, table: LabelTable) -> None:
    """Write the page of a prepared case: the stored image and labels, on the stored grid.

    Raises:
        StoreError: the store lacks the case, or its files are damaged.
    """
    record = store.record(key)
    volume = ImageVolume(
        store.read_image(key), record.geometry, record.file_geometry, record.reorientation
    )
    labels_ZYX = store.read_labels(key)
    labels_ZYX[labels_ZYX == OUTSIDE] = BACKGROUND
    regions = table.regions_annotated_by(record.annotated)
    intensities = "HU" if record.modality == "CT" else "z-scores"
    shown = ScanRecord(
        scan=key,
        files=(),
        inputs="",
        made_by="",
        modality=record.modality,
        notes=(f"Prepared: cropped, resampled, in {intensities}; the labels are the reference.",),
        volumes=tuple(measure_targets(labels_ZYX, volume, regions, table)),
    )
    write_page(path, volume, labels_ZYX, shown, in_index=False)


def write_compared_page(
    path: Path,
    case: SourceCase,
    source: Source,
    table: LabelTable,
    predicted: Path,
    regions: Sequence[str],
    title: str,
) -> None:
    """Write the page of a scored case: prediction and reference on the raw image's grid.

    Args:
        path: the page.
        case: its raw files.
        source: its dataset entry.
        table: the fused label table.
        predicted: file or folder of the prediction.
        regions: that were predicted and scored.
        title: what predicted it.

    Raises:
        VolumeError, LabelError: a file can't be read.
    """
    image = read_image(case.images)
    reference_ZYX = read_targets(case, source, table, image)
    labels_ZYX = read_prediction(predicted, case, source, table, image)
    of_reference = measure_targets(reference_ZYX, image, regions, table)
    found: dict[str, float] = {}
    for region in regions:
        ids = table.region_ids(region)
        found[region] = dice(np.isin(reference_ZYX, ids), np.isin(labels_ZYX, ids))
    shown = ScanRecord(
        scan=case.key,
        files=tuple(str(file) for file in case.images),
        inputs="",
        made_by="",
        modality=case.modality,
        notes=image.repairs,
        volumes=tuple(measure_targets(labels_ZYX, image, regions, table)),
        model=title,
    )
    reference = Reference(
        labels_ZYX=reference_ZYX,
        volume_ml={str(row["target"]): float(row["volume_ml"] or 0) for row in of_reference},
        dice=found,
    )
    write_page(path, image, labels_ZYX, shown, in_index=False, reference=reference)
