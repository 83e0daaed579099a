"""One loaded scan to all that was asked for: labels, masks, pictures, pages, and the record."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.files import file_digest, write_bytes, write_text
from tsfm_pipeline.imaging.nifti_writing import write_nifti
from tsfm_pipeline.imaging.volume import ImageVolume, write_label
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.scans.destination import Destination
from tsfm_pipeline.scans.dicom_seg import write_dicom_seg
from tsfm_pipeline.scans.ensemble import Ensemble, probability_map
from tsfm_pipeline.scans.finding import Scan
from tsfm_pipeline.scans.label_files import label_names
from tsfm_pipeline.scans.loading import LoadedScan
from tsfm_pipeline.scans.measures import add_spread, measure_targets, region_mask
from tsfm_pipeline.scans.overlay import draw_overlay
from tsfm_pipeline.scans.page import write_page
from tsfm_pipeline.scans.record import (
    ScanRecord,
    inputs_digest,
    mask_path,
    outputs_of,
    probability_path,
    writing,
)
from tsfm_pipeline.scans.segment import image_on_grid
from tsfm_pipeline.scans.settings import PredictSettings
from tsfm_pipeline.scans.training_data import phantom_warnings, training_text


@dataclass(frozen=True)
class Recipe:
    """What is done with every scan of a run.

    Attributes:
        models: loaded.
        regions: those wanted.
        settings: what to write.
        window: of the sliding window.
        made_by: digest of the models and of what decides the labels.
    """

    models: Ensemble
    regions: tuple[str, ...]
    settings: PredictSettings
    window: InferenceSettings
    made_by: str


def write_scan(scan: Scan, loaded: LoadedScan, recipe: Recipe, to: Destination) -> ScanRecord:
    """Segment a scan and write its outputs, the record last.

    Raises:
        ScanError: no DICOM segmentation can be made of the series.
        ModelError, PlacementError: see `inference.model.predict_scores`.
        OSError: an output can't be written.
    """
    volume, settings, folder = loaded.volume, recipe.settings, to.folder
    card = recipe.models.card
    scores_KZYX = recipe.models.predict(loaded, recipe.regions, recipe.window)
    labels_ZYX = recipe.models.paint(scores_KZYX, loaded, recipe.regions)
    rows = measure_targets(labels_ZYX, volume, recipe.regions, card.table)
    cards = [model.card for model in recipe.models.models]
    record = ScanRecord(
        scan=scan.name,
        files=tuple(map(str, scan.files)),
        inputs=inputs_digest(scan),
        made_by=recipe.made_by,
        modality=loaded.modality,
        notes=loaded.notes,
        volumes=tuple(rows),
        statistics=(
            tuple(add_spread(rows, labels_ZYX, volume, card.table)) if settings.statistics else None
        ),
        model=training_text(cards),
        warnings=phantom_warnings(cards, [scan]),
    )
    paths = outputs_of(folder, scan.name)
    with writing(folder, scan.name):
        write_label(paths["labels"], labels_ZYX, (volume.file_geometry, volume.reorientation))
        kept = [paths["labels"]]
        if settings.per_target:
            kept += _write_masks(folder, scan, volume, labels_ZYX, recipe)
        if settings.probabilities:
            _write_probabilities(folder, scan, loaded, scores_KZYX, recipe)
        if settings.preview:
            image_ZYX, spacing = volume.array[0], volume.geometry.spacing
            picture = draw_overlay(image_ZYX, labels_ZYX, spacing, rows, loaded.modality, scan.name)
            write_bytes(paths["preview"], picture)
            kept.append(paths["preview"])
        if settings.page:
            write_page(paths["page"], volume, labels_ZYX, record, in_index=to.name is None)
        if settings.dicom_seg and scan.series:
            stored_ZYX = volume.reorientation.invert(labels_ZYX)
            names = label_names(card.table, card.regions)
            write_dicom_seg(paths["dicom_seg"], scan.files, stored_ZYX, names, card.name)
        # another run in this folder may have taken one away, to write it again
        digests = {
            path.relative_to(folder).as_posix(): file_digest(path) for path in kept if path.exists()
        }
        record = record.model_copy(update={"digests": digests})
        write_text(paths["record"], record.model_dump_json(indent=1) + "\n")
    return record


def _write_masks(
    folder: Path, scan: Scan, volume: ImageVolume, labels_ZYX: NDArray[np.uint8], recipe: Recipe
) -> list[Path]:
    """Return the masks' paths."""
    like = (volume.file_geometry, volume.reorientation)
    paths = [mask_path(folder, scan.name, region) for region in recipe.regions]
    for path, region in zip(paths, recipe.regions, strict=True):
        mask_ZYX = region_mask(labels_ZYX, region, recipe.models.card.table)
        write_label(path, mask_ZYX.view(np.uint8), like)
    return paths


def _write_probabilities(
    folder: Path,
    scan: Scan,
    loaded: LoadedScan,
    scores_KZYX: NDArray[np.floating],
    recipe: Recipe,
) -> None:
    """Write one target after the other: each is a volume of float32 at the scan's resolution."""
    volume = loaded.volume
    for region, scores_ZYX in zip(recipe.regions, scores_KZYX, strict=True):
        map_ZYX = volume.reorientation.invert(probability_map(scores_ZYX, loaded.grid))
        image = image_on_grid(np.ascontiguousarray(map_ZYX), volume.file_geometry)
        path = probability_path(folder, scan.name, region)
        path.parent.mkdir(exist_ok=True)
        write_nifti(path, image)
