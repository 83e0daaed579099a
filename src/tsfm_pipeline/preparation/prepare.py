"""Prepare one case as nnU-Net v1 does, after canonical reorientation.

Order (nnU-Net v1.7.1, cropping.py and preprocessing.py): crop to the nonzero box, mark what lies
outside the nonzero mask, resample image and labels, z-score MR; CT stays in HU and is normalised
when it is read (its statistics belong to a training run, not to a case).
Array names carry their axes: C channels, then z, y, x voxels; N locations, M samples.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.geometry import Geometry, Triple
from tsfm_pipeline.imaging.intensity import (
    IntensityError,
    bounding_box,
    nonzero_mask,
    normalise_mr,
)
from tsfm_pipeline.imaging.labels import BACKGROUND, OUTSIDE, LabelTable
from tsfm_pipeline.imaging.resampling import resample_image, resample_labels, resampled_shape
from tsfm_pipeline.imaging.volume import ImageVolume, VolumeError, read_image
from tsfm_pipeline.imaging.voxel_fingerprint import voxel_fingerprint
from tsfm_pipeline.preparation.identity import preparation_digest, raw_digest
from tsfm_pipeline.preparation.labels import read_targets
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources.source import Modality, Source, SourceCase
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord

MASKED_NORMALISATION_BELOW = 3 / 4
INTENSITY_STEP = 10
LOCATIONS_AT_LEAST = 10_000
LOCATIONS_FRACTION = 0.01


@dataclass(frozen=True)
class PreparedImage:
    """An image, with labels if there are any, on the grid of the store.

    Attributes:
        image_CZYX: HU for CT, z-scores for MR.
        labels_ZYX: target integers; OUTSIDE outside the nonzero mask.
        geometry: the prepared grid.
        crop_lower: first voxel (z, y, x) of the nonzero box on the canonical grid.
        crop_shape: voxels (z, y, x) of the box before resampling.
        intensities: (M, C) every tenth foreground voxel before resampling and normalisation.
    """

    image_CZYX: NDArray[np.float32]
    labels_ZYX: NDArray[np.uint8]
    geometry: Geometry
    crop_lower: Triple
    crop_shape: Triple
    intensities: NDArray[np.float32]


def prepare_case(
    case: SourceCase,
    source: Source,
    table: LabelTable,
    settings: PreparationSettings,
    store: CaseStore,
) -> CaseRecord:
    """Prepare a case and write it to the store, unless the store has it made the same way.

    Raises:
        VolumeError: the case has a problem, or an image or label file can't be used.
        LabelError: a label value or class that the source does not list.
    """
    if case.problem:
        raise VolumeError(case.problem)
    raw = raw_digest(case)
    how = preparation_digest(case, source, table, settings)
    if store.has(case.key, raw_digest=raw, preparation_digest=how):
        return store.record(case.key)
    image = read_image(case.images)
    labels_ZYX = read_targets(case, source, table, image)
    try:
        prepared = prepare_image(image, case.modality, settings, labels_ZYX)
    except IntensityError as error:
        raise VolumeError(f"{case.images[0]}: {error}; leave the case out") from error
    ids, counts = np.unique(prepared.labels_ZYX, return_counts=True)
    target_voxels = {
        int(i): int(n) for i, n in zip(ids, counts, strict=True) if i not in (BACKGROUND, OUTSIDE)
    }
    fingerprint = voxel_fingerprint(image.array)
    record = CaseRecord(
        dataset=case.dataset,
        case=case.case,
        patient=case.patient,
        modality=case.modality,
        channels=len(prepared.image_CZYX),
        geometry=prepared.geometry,
        file_geometry=image.file_geometry,
        reorientation=image.reorientation,
        crop_lower=prepared.crop_lower,
        crop_shape=prepared.crop_shape,
        uncropped_shape=image.geometry.shape,
        uncropped_spacing=image.geometry.spacing,
        target_voxels=target_voxels,
        annotated=source.annotated_targets(case.modality),
        raw_digest=raw,
        preparation_digest=how,
        voxel_digest=fingerprint.digest,
    )
    store.write(
        record,
        prepared.image_CZYX,
        prepared.labels_ZYX,
        foreground_locations(prepared.labels_ZYX, tuple(target_voxels), settings.seed),
        prepared.intensities,
        fingerprint.thumbnail,
    )
    return record


def prepare_image(
    image: ImageVolume,
    modality: Modality,
    settings: PreparationSettings,
    labels_ZYX: NDArray[np.uint8] | None = None,
) -> PreparedImage:
    """Crop, resample and (MR) normalise an image; a scan to segment has no labels.

    MR is z-scored over the nonzero mask, and 0 outside, when the crop leaves less than 3/4 of the
    volume; else over everything. (nnU-Net decides by the median of a dataset; a case of a pool
    must not depend on which others are in it.)

    Raises:
        IntensityError: all voxels are 0.
    """
    mask_ZYX = nonzero_mask(image.array)
    lower, shape = bounding_box(mask_ZYX)
    box = tuple(slice(start, start + size) for start, size in zip(lower, shape, strict=True))
    image_CZYX = image.array[(slice(None), *box)]
    mask_ZYX = mask_ZYX[box]
    cropped_ZYX = np.zeros(shape, np.uint8) if labels_ZYX is None else labels_ZYX[box].copy()
    intensities = image_CZYX[:, cropped_ZYX != BACKGROUND][:, ::INTENSITY_STEP].T
    cropped_ZYX[(cropped_ZYX == BACKGROUND) & ~mask_ZYX] = OUTSIDE

    grid = image.geometry.cropped(lower, shape)
    target = settings.target_spacing or grid.spacing
    new_shape = resampled_shape(shape, grid.spacing, target)
    image_CZYX = resample_image(image_CZYX, new_shape, grid.spacing, target)
    cropped_ZYX = resample_labels(cropped_ZYX, new_shape, grid.spacing, target)
    if modality == "MR":
        kept = math.prod(shape) / math.prod(image.geometry.shape)
        masked = kept < MASKED_NORMALISATION_BELOW
        image_CZYX = normalise_mr(image_CZYX, cropped_ZYX != OUTSIDE if masked else None)
    return PreparedImage(
        image_CZYX=image_CZYX,
        labels_ZYX=cropped_ZYX,
        geometry=grid.resampled(new_shape),
        crop_lower=lower,
        crop_shape=shape,
        intensities=np.ascontiguousarray(intensities),
    )


def foreground_locations(
    labels_ZYX: NDArray[np.uint8], targets: tuple[int, ...], seed: int
) -> dict[int, NDArray[np.int32]]:
    """Draw voxels (N, 3) of each target without replacement, as nnU-Net v1's class_locations.

    N is the target's voxels up to 10,000, and at least 1 % of them.
    """
    random = np.random.RandomState(seed)
    locations = {}
    for target in sorted(targets):
        found = np.argwhere(labels_ZYX == target)
        wanted = max(
            min(LOCATIONS_AT_LEAST, len(found)), math.ceil(LOCATIONS_FRACTION * len(found))
        )
        chosen = random.choice(len(found), wanted, replace=False)
        locations[target] = found[chosen].astype(np.int32)
    return locations
