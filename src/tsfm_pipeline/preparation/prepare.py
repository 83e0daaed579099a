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

from tsfm_pipeline.imaging.geometry import Geometry, Triple, TripleFloat
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
from tsfm_pipeline.preparation.identity import RawDigests, image_identity, preparation_digest
from tsfm_pipeline.preparation.labels import read_targets
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources.source import Modality, Source, SourceCase
from tsfm_pipeline.store.case_store import CaseStore, StoreError, StoreWriteError
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


@dataclass(frozen=True)
class CroppedCase:
    """A case cut to the box of its nonzero mask, before resampling.

    Attributes:
        image_CZYX: a view of the whole image.
        labels_ZYX: target integers; OUTSIDE outside the nonzero mask.
        geometry: grid of the box.
        lower: first voxel (z, y, x) of the box on the canonical grid.
        kept: share of the canonical grid's voxels that lie in the box.
        intensities: (M, C) every tenth foreground voxel.
    """

    image_CZYX: NDArray[np.float32]
    labels_ZYX: NDArray[np.uint8]
    geometry: Geometry
    lower: Triple
    kept: float
    intensities: NDArray[np.float32]

    def grid(self, settings: PreparationSettings) -> tuple[Triple, TripleFloat]:
        """Return the shape and spacing (z, y, x) to resample to."""
        spacing = settings.spacing_for(self.geometry.spacing)
        return resampled_shape(self.geometry.shape, self.geometry.spacing, spacing), spacing

    def resampled_labels(self, settings: PreparationSettings) -> NDArray[np.uint8]:
        """Return the labels on the grid of the store."""
        shape, spacing = self.grid(settings)
        return resample_labels(self.labels_ZYX, shape, self.geometry.spacing, spacing)

    def resampled_image(
        self, modality: Modality, settings: PreparationSettings, labels_ZYX: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Return the image on the grid of the store, MR normalised; see `prepare_image`."""
        shape, spacing = self.grid(settings)
        image_CZYX = resample_image(self.image_CZYX, shape, self.geometry.spacing, spacing)
        if modality == "MR":
            inside_ZYX = labels_ZYX != OUTSIDE if self.scored_inside(modality) else None
            normalise_mr(image_CZYX, inside_ZYX, out=image_CZYX)
        return image_CZYX

    def scored_inside(self, modality: Modality) -> bool:
        """Tell whether the image is z-scored inside its mask only, which labels have a say in."""
        return modality == "MR" and self.kept < MASKED_NORMALISATION_BELOW


def prepare_case(
    case: SourceCase,
    source: Source,
    table: LabelTable,
    settings: PreparationSettings,
    store: CaseStore,
    raw: RawDigests | None = None,
    *,
    verify: bool = False,
) -> CaseRecord:
    """Prepare a case and write it to the store, unless the store has it made the same way.

    Where only labels or their mapping changed, the stored image stays the file that it is.

    Args:
        case: the raw case.
        source: its dataset.
        table: the fused label table.
        settings: how to prepare.
        store: where to.
        raw: digests of the raw files; None digests them here.
        verify: compare the content of what is stored, not only its files' sizes.

    Raises:
        VolumeError: the case has a problem, or an image or label file can't be used.
        LabelError: a label value or class that the source does not list.
        StoreError: the disk is full.
    """
    if case.problem:
        raise VolumeError(case.problem)
    raw = raw or RawDigests.of_files(case)
    how = preparation_digest(case, source, table, settings)
    stored = store.intact_record(case.key, verify=verify)
    if stored and (stored.raw_digest, stored.preparation_digest) == (raw.joined, how):
        return stored
    image = read_image(case.images)
    try:
        cropped = crop_case(image, read_targets(case, source, table, image))
    except IntensityError as error:
        raise VolumeError(f"{case.images[0]}: {error}; leave the case out") from error
    labels_ZYX = cropped.resampled_labels(settings)
    shape, _ = cropped.grid(settings)
    target_voxels = count_targets(labels_ZYX)
    fingerprint = voxel_fingerprint(image.array)
    record = CaseRecord(
        dataset=case.dataset,
        case=case.case,
        patient=case.patient,
        modality=case.modality,
        channels=len(image.array),
        geometry=cropped.geometry.resampled(shape),
        file_geometry=image.file_geometry,
        reorientation=image.reorientation,
        crop_lower=cropped.lower,
        crop_shape=cropped.geometry.shape,
        uncropped_shape=image.geometry.shape,
        uncropped_spacing=image.geometry.spacing,
        target_voxels=target_voxels,
        annotated=source.annotated_targets(case.modality, table),
        raw_digest=raw.joined,
        preparation_digest=how,
        voxel_digest=fingerprint.digest,
        image_identity=image_identity(case, raw, settings),
    )
    foreground = foreground_locations(labels_ZYX, tuple(target_voxels), settings.seed)
    rest = (labels_ZYX, foreground, cropped.intensities, fingerprint.thumbnail)
    if stored and stored.image_identity == record.image_identity:
        try:
            if not cropped.scored_inside(case.modality) or np.array_equal(
                store.read_labels(case.key) == OUTSIDE, labels_ZYX == OUTSIDE
            ):
                store.write_labels(record, *rest)
                return record
        except StoreWriteError:
            raise
        except (StoreError, OSError):  # what is stored can't be read; the raw case is sound
            pass
    store.write(record, cropped.resampled_image(case.modality, settings, labels_ZYX), *rest)
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
    cropped = crop_case(image, labels_ZYX)
    resampled_ZYX = cropped.resampled_labels(settings)
    return PreparedImage(
        image_CZYX=cropped.resampled_image(modality, settings, resampled_ZYX),
        labels_ZYX=resampled_ZYX,
        geometry=cropped.geometry.resampled(resampled_ZYX.shape),
        crop_lower=cropped.lower,
        crop_shape=cropped.geometry.shape,
        intensities=cropped.intensities,
    )


def crop_case(image: ImageVolume, labels_ZYX: NDArray[np.uint8] | None) -> CroppedCase:
    """Cut a case to the box of its nonzero mask; mark what is unlabelled outside the mask.

    Raises:
        IntensityError: all voxels are 0.
    """
    mask_ZYX = nonzero_mask(image.array)
    lower, shape = bounding_box(mask_ZYX)
    box = tuple(slice(start, start + size) for start, size in zip(lower, shape, strict=True))
    image_CZYX = image.array[(slice(None), *box)]
    cropped_ZYX = np.zeros(shape, np.uint8) if labels_ZYX is None else labels_ZYX[box].copy()
    intensities = image_CZYX[:, cropped_ZYX != BACKGROUND][:, ::INTENSITY_STEP].T
    cropped_ZYX[(cropped_ZYX == BACKGROUND) & ~mask_ZYX[box]] = OUTSIDE
    return CroppedCase(
        image_CZYX=image_CZYX,
        labels_ZYX=cropped_ZYX,
        geometry=image.geometry.cropped(lower, shape),
        lower=lower,
        kept=math.prod(shape) / math.prod(image.geometry.shape),
        intensities=np.ascontiguousarray(intensities),
    )


def count_targets(labels_ZYX: NDArray[np.uint8]) -> dict[int, int]:
    """Return the voxels of each target integer that occurs."""
    counts = np.zeros(OUTSIDE + 1, np.int64)
    for plane_YX in labels_ZYX:  # at once, every voxel would become an integer of 8 bytes
        counts += np.bincount(plane_YX.ravel(), minlength=OUTSIDE + 1)
    targets = np.flatnonzero(counts[:OUTSIDE])
    return {int(target): int(counts[target]) for target in targets if target != BACKGROUND}


def foreground_locations(
    labels_ZYX: NDArray[np.uint8], targets: tuple[int, ...], seed: int
) -> dict[int, NDArray[np.int32]]:
    """Draw voxels (N, 3) of each target without replacement, as nnU-Net v1's class_locations.

    N is the target's voxels up to 10,000, and at least 1 % of them.
    """
    random = np.random.RandomState(seed)
    locations = {}
    for target in sorted(targets):
        found = np.flatnonzero(labels_ZYX == target)
        wanted = max(
            min(LOCATIONS_AT_LEAST, len(found)), math.ceil(LOCATIONS_FRACTION * len(found))
        )
        chosen = found[random.choice(len(found), wanted, replace=False)]
        voxels = np.unravel_index(chosen, labels_ZYX.shape)
        locations[target] = np.stack(voxels, axis=1).astype(np.int32)
    return locations
