"""One scan from its files to what the network takes; every claim of a header is checked first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from tsfm_pipeline.imaging.geometry import Geometry, canonical_reorientation
from tsfm_pipeline.imaging.plausibility import grid_fault, image_fault
from tsfm_pipeline.imaging.resampling import resampled_shape
from tsfm_pipeline.imaging.volume import ImageVolume, read_image
from tsfm_pipeline.inference.export import OriginalGrid
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.preparation.prepare import prepare_image
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.scans.dicom import read_series
from tsfm_pipeline.scans.finding import Scan
from tsfm_pipeline.scans.problem import NoScan, ScanError, about
from tsfm_pipeline.scans.size_check import check_files, check_memory, check_series
from tsfm_pipeline.sources.source import Modality

CT_EVIDENCE_HU = -100.0
"""Fat and air lie below it in every CT in HU; magnitude MR has no negative values."""

MOST_LABELS = 128
"""TotalSegmentator has 117; an MR in eight bits has about 200 of its 256 values."""


@dataclass(frozen=True)
class LoadedScan:
    """A scan ready for the network, and the way back.

    Attributes:
        volume: the image as its files hold it, in canonical orientation.
        prepared_CZYX: cropped, resampled; HU for CT, z-scores for MR.
        grid: where the prepared grid lies in the volume's.
        modality: CT or MR.
        notes: what was decided or repaired, in sentences.
    """

    volume: ImageVolume
    prepared_CZYX: NDArray[np.float32]
    grid: OriginalGrid
    modality: Modality
    notes: tuple[str, ...]


def known_modalities(card: ModelCard) -> tuple[Modality, ...]:
    """Return what a model was trained on; both where its card does not tell."""
    if card.ct_statistics is None:
        return ("MR",)
    return card.modalities or ("CT", "MR")


def load_scan(scan: Scan, card: ModelCard, asked: Modality | None) -> LoadedScan:
    """Read and prepare a scan for a model.

    Args:
        scan: as `scans.find_scans` lists it.
        card: of the model.
        asked: modality that the user states for files.

    Raises:
        ScanError, VolumeError, IntensityError: the scan can't be segmented as it is.
        NoScan: it is the mask of a DICOM series.
    """
    with about(scan.path):
        if scan.series:
            check_series(scan.files)
            volume = volume_of([read_series(scan.files)])
        else:
            check_files(scan.files)
            volume = read_image(scan.files)
            if scan.beside_series and is_label_map(volume.array):
                raise NoScan("a label map beside DICOM slices, not a scan; nothing to do")
        loaded = prepare_volume(volume, card, scan.modality, asked)
    return replace(loaded, notes=(*scan.notes, *loaded.notes))


def is_label_map(array_CZYX: NDArray[np.float32]) -> bool:
    """Say whether voxels are few different whole numbers from 0 up, as no scanner's are."""
    low, high = float(array_CZYX.min()), float(array_CZYX.max())
    if low != 0 or high > np.iinfo(np.uint8).max:
        return False
    whole = array_CZYX.astype(np.uint8)
    if (whole != array_CZYX).any():
        return False
    return int(np.count_nonzero(np.bincount(whole.ravel()))) <= MOST_LABELS


def prepare_volume(
    volume: ImageVolume, card: ModelCard, known: Modality | None, asked: Modality | None
) -> LoadedScan:
    """Crop, resample and normalise a volume as the model's training cases were.

    Raises:
        ScanError: another modality or number of channels than the model's, a grid or voxels that
            no scanner makes, or more than the free memory holds.
        IntensityError: all voxels are 0.
    """
    if len(volume.array) != card.in_channels:
        raise ScanError(
            f"{len(volume.array)} channel(s) where model {card.name} takes {card.in_channels};"
            " give one file per channel"
        )
    if fault := grid_fault(volume.geometry):
        raise ScanError(fault)
    if card.target_spacing is not None:
        new = resampled_shape(volume.geometry.shape, volume.geometry.spacing, card.target_spacing)
        check_memory(math.prod(new), f"{new} voxels at the model's {card.target_spacing} mm")
    modality, notes = decide_modality(
        known, asked, known_modalities(card), float(volume.array.min())
    )
    if found := image_fault(volume, modality):
        channel, fault = found
        raise ScanError(f"channel {channel + 1}: {fault}" if len(volume.array) > 1 else fault)
    how = PreparationSettings(target_spacing=card.target_spacing)
    prepared = prepare_image(volume, modality, how)
    grid = OriginalGrid(
        spacing=prepared.geometry.spacing,
        crop_lower=prepared.crop_lower,
        crop_shape=prepared.crop_shape,
        uncropped_shape=volume.geometry.shape,
        uncropped_spacing=volume.geometry.spacing,
    )
    return LoadedScan(volume, prepared.image_CZYX, grid, modality, (*volume.repairs, *notes))


def decide_modality(
    stated: Modality | None,
    asked: Modality | None,
    knows: Sequence[Modality],
    minimum: float,
) -> tuple[Modality, tuple[str, ...]]:
    """Decide what a scan is: DICOM says so, else the user, else the model and the intensities.

    A model of one modality takes files as that one. A model of both takes a file as CT where
    voxels lie under CT_EVIDENCE_HU, and else asks: an MR normalised as CT gives a plausible
    looking, wrong segmentation.

    Args:
        stated: by DICOM.
        asked: by the user.
        knows: the model's modalities.
        minimum: lowest voxel.

    Returns:
        The modality, and what the user should know about the decision.

    Raises:
        ScanError: the model does not know it, or it can't be told.
    """
    modality = stated or asked
    if modality is not None and modality not in knows:
        raise ScanError(
            f"the scan is {modality}, and the model was trained on {' and '.join(knows)} only;"
            f" take a model that was trained on {modality}"
        )
    if modality is not None:
        return modality, ()
    evident = minimum < CT_EVIDENCE_HU
    lowest = f"its lowest voxel is {minimum:g}"
    if len(knows) > 1 and not evident:
        raise ScanError(
            f"CT or MR? The model knows both, the file does not say, and {lowest}, where a CT in HU"
            " has fat and air below -100; say --modality MR, or --modality CT if it is one"
        )
    if len(knows) > 1:
        return "CT", (f"taken as CT: {lowest}",)
    if knows[0] == "CT" and not evident:
        return "CT", (f"taken as CT, all the model knows, but {lowest}: is it a CT in HU?",)
    if knows[0] == "MR" and evident:
        return "MR", (f"taken as MR, all the model knows, but {lowest}, as in a CT",)
    return knows[0], ()


def volume_of(channels: Sequence[sitk.Image]) -> ImageVolume:
    """Turn SimpleITK images, one per channel, into a canonical volume.

    Raises:
        ScanError: an image is not 3-D with one value per voxel, or the grids differ.
    """
    arrays, grids = [], []
    for image in channels:
        image = _three_axes(image)  # noqa: PLW2901
        arrays.append(sitk.GetArrayViewFromImage(image))
        z, y, x = arrays[-1].shape
        row_x, row_y, row_z = np.reshape(image.GetDirection(), (3, 3)).tolist()
        grids.append(
            Geometry(
                shape=(z, y, x),
                spacing=image.GetSpacing()[::-1],
                origin=image.GetOrigin(),
                direction=(tuple(row_x), tuple(row_y), tuple(row_z)),
            )
        )
    if any(grid.shape != grids[0].shape for grid in grids):
        raise ScanError(
            f"the channels have shapes {[grid.shape for grid in grids]} (z, y, x); resample them"
            " onto one grid"
        )
    turn = canonical_reorientation(grids[0])
    stacked = np.stack([turn.apply(array).astype(np.float32) for array in arrays])
    broken = ~np.isfinite(stacked)
    stacked[broken] = 0.0
    repairs = (f"{int(broken.sum())} NaN or infinite voxels set to 0",) if broken.any() else ()
    return ImageVolume(stacked, turn.apply_to_geometry(grids[0]), grids[0], turn, repairs)


def _three_axes(image: sitk.Image) -> sitk.Image:
    size = image.GetSize()
    if image.GetNumberOfComponentsPerPixel() != 1 or len(size) < 3 or any(n > 1 for n in size[3:]):
        raise ScanError(
            f"an image of size {size} (x, y, z, ...) with"
            f" {image.GetNumberOfComponentsPerPixel()} value(s) per voxel is not one volume;"
            " give a 3-D image with one value per voxel"
        )
    return image if len(size) == 3 else sitk.Extract(image, [*size[:3], *(0 for _ in size[3:])])
