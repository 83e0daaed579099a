"""Segment one scan: the Python call, and the steps that the command shares with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, TypeAlias, cast

import nibabel
import numpy as np
import pandas as pd
import SimpleITK as sitk
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from tsfm_pipeline.imaging.geometry import Geometry
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import ImageVolume, read_image
from tsfm_pipeline.inference.model import SegmentationModel
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelError
from tsfm_pipeline.scans.ensemble import Ensemble, open_models, probability_map
from tsfm_pipeline.scans.finding import Scan, find_scans
from tsfm_pipeline.scans.label_files import label_names
from tsfm_pipeline.scans.loading import LoadedScan, load_scan, prepare_volume, volume_of
from tsfm_pipeline.scans.measures import (
    STATISTICS_COLUMNS,
    add_spread,
    measure_targets,
    region_mask,
)
from tsfm_pipeline.scans.problem import ScanError
from tsfm_pipeline.scans.registry import find_model
from tsfm_pipeline.sources.source import Modality

Image: TypeAlias = Path | str | sitk.Image | SpatialImage
Images: TypeAlias = Image | ImageVolume | Sequence[Image]
Model: TypeAlias = Ensemble | SegmentationModel | Path | str | Sequence[Path | str]


@dataclass(frozen=True)
class Segmentation:
    """A segmented scan: arrays, and the grid that they lie on.

    Attributes:
        array: label integers (z, y, x) on the scan's own grid.
        geometry: that grid: spacing, origin, directions.
        names: integer -> target.
        table: the model's label table: what belongs to a target.
        volumes: one row per target, `measures.STATISTICS_COLUMNS` without `scan`.
        modality: as what the scan was segmented.
        notes: what was decided or repaired on the way, in sentences.
        probabilities: target -> float32 (z, y, x) on the same grid; None unless asked for.
    """

    array: NDArray[np.uint8]
    geometry: Geometry
    names: dict[int, str]
    table: LabelTable
    volumes: pd.DataFrame
    modality: Modality
    notes: tuple[str, ...]
    probabilities: dict[str, NDArray[np.float32]] | None = None

    def mask(self, target: str) -> NDArray[np.bool_]:
        """Return which voxels (z, y, x) belong to a target, with what lies in it.

        Raises:
            ModelError: it was not segmented.
        """
        if target not in self.names.values():
            raise ModelError(unknown_target([target], list(self.names.values())))
        return region_mask(self.array, target, self.table)

    @property
    def labels(self) -> sitk.Image:
        """The label integers as a SimpleITK image."""
        return image_on_grid(self.array, self.geometry)

    @property
    def nifti(self) -> nibabel.Nifti1Image:
        """The label integers as a nibabel image, whose array is (x, y, z)."""
        return nibabel.Nifti1Image(self.array.transpose(2, 1, 0), ras_affine(self.geometry))


def segment(
    images: Images,
    model: Model,
    targets: Sequence[str] | None = None,
    *,
    modality: Modality | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    settings: InferenceSettings | None = None,
    probabilities: bool = False,
) -> Segmentation:
    """Segment one scan.

    >>> segmentation = segment("ct.nii.gz", "weights", ["liver"])
    >>> segmentation.names
    {5: 'liver'}
    >>> segmentation.mask("liver").shape, segmentation.geometry.spacing  # z, y, x
    ((14, 18, 20), (3.0, 2.5, 2.0))
    >>> segmentation.volumes[["target", "label", "includes"]].to_dict("records")
    [{'target': 'liver', 'label': 5, 'includes': ''}]
    >>> import SimpleITK
    >>> SimpleITK.WriteImage(segmentation.labels, "liver.nii.gz")

    Args:
        images: a file, a DICOM folder of one series, a SimpleITK or nibabel image, an
            `imaging.volume.ImageVolume`, or a sequence of files or images, one per channel of the
            model.
        model: a model folder or the name of a released model, several of them to be averaged, or
            what `ensemble.open_models` made of them (which saves loading for each of many scans).
        targets: those wanted; all that the model knows if left out.
        modality: CT or MR, where neither DICOM nor the model tells.
        device: where a model folder is loaded to.
        settings: of the sliding window.
        probabilities: whether to return those, too: 4 bytes per voxel and target.

    Raises:
        ScanError, VolumeError, IntensityError: the scan can't be segmented; the message says why
            and what to do.
        ModelError: no usable model folder, models that do not agree, or an unknown target.
    """
    opened = _opened(model, device)
    card = opened.card
    regions = choose_regions(card, targets or ())
    loaded = _loaded(images, card, modality)
    scores_KZYX = opened.predict(loaded, regions, settings or InferenceSettings())
    labels_ZYX = opened.paint(scores_KZYX, loaded, regions)
    volume = loaded.volume
    rows = measure_targets(labels_ZYX, volume, regions, card.table)
    rows = add_spread(rows, labels_ZYX, volume, card.table)
    maps = None
    if probabilities:
        maps = {
            region: np.ascontiguousarray(
                volume.reorientation.invert(probability_map(scores_ZYX, loaded.grid))
            )
            for region, scores_ZYX in zip(regions, scores_KZYX, strict=True)
        }
    return Segmentation(
        array=np.ascontiguousarray(volume.reorientation.invert(labels_ZYX)),
        geometry=volume.file_geometry,
        names=label_names(card.table, regions),
        table=card.table,
        volumes=pd.DataFrame(rows, columns=list(STATISTICS_COLUMNS[1:])),
        modality=loaded.modality,
        notes=loaded.notes,
        probabilities=maps,
    )


def choose_regions(card: ModelCard, targets: Sequence[str]) -> tuple[str, ...]:
    """Return the wanted regions in the model's order, all of them for none.

    Raises:
        ModelError: the model does not know a target; the message lists those it knows.
    """
    unknown = [target for target in targets if target not in card.regions]
    if unknown:
        raise ModelError(f"model {card.name}: {unknown_target(unknown, card.regions)}")
    return tuple(name for name in card.regions if not targets or name in targets)


def unknown_target(unknown: Sequence[str], known: Sequence[str]) -> str:
    """Say that targets are unknown, which ones are known, and what may have been meant."""
    near = [match for name in unknown for match in get_close_matches(name, known, n=1)]
    meant = f"; did you mean {', '.join(near)}?" if near else ""
    return f"it does not know {', '.join(unknown)}; it knows {', '.join(sorted(known))}{meant}"


def image_on_grid(array_ZYX: NDArray, grid: Geometry) -> sitk.Image:
    """Return an array (z, y, x) in a file's own order as an image on the file's grid."""
    image = sitk.GetImageFromArray(array_ZYX)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    image.SetDirection([value for row in grid.direction for value in row])
    return image


def ras_affine(grid: Geometry) -> NDArray[np.float64]:
    """Return nibabel's 4x4 affine of a grid: voxel (x, y, z) to mm, +x to the patient's right."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(grid.direction) * grid.spacing[::-1]
    affine[:3, 3] = grid.origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _opened(model: Model, device: Literal["auto", "cpu", "cuda"]) -> Ensemble:
    if isinstance(model, Ensemble):
        return model
    if isinstance(model, SegmentationModel):
        return Ensemble((model,))
    named = [model] if isinstance(model, str | Path) else model
    return open_models([find_model(one) for one in named], device)


def _loaded(images: Images, card: ModelCard, modality: Modality | None) -> LoadedScan:
    if isinstance(images, ImageVolume):
        return prepare_volume(images, card, None, modality)
    one = isinstance(images, str | Path | sitk.Image | SpatialImage)
    given = [cast(Image, images)] if one else list(cast(Sequence[Image], images))
    if all(isinstance(image, sitk.Image) for image in given):
        return prepare_volume(volume_of(given), card, None, modality)
    if all(isinstance(image, SpatialImage) for image in given):
        return prepare_volume(_nibabel_volume(given), card, None, modality)
    paths = [Path(image) for image in given if isinstance(image, str | Path)]
    if len(paths) != len(given):
        raise ScanError("the channels are of several kinds; give paths, or images of one library")
    if len(paths) > 1:
        return load_scan(Scan("scan", tuple(paths)), card, modality)
    scans, problems = find_scans(paths[0], card.in_channels)
    if len(scans) == 1:
        return load_scan(scans[0], card, modality)
    if scans:
        raise ScanError(
            f"{paths[0]} holds {len(scans)} scans ({', '.join(scan.name for scan in scans[:5])});"
            " name one of them, or use scans.run.predict_folder"
        )
    raise ScanError(f"{problems[0].file}: {problems[0].reason}; {problems[0].remedy}")


def _nibabel_volume(channels: Sequence[SpatialImage]) -> ImageVolume:
    """Read nibabel images, one per channel, as if they were NIfTI files: with the same checks."""
    named = {
        Path(f"channel_{number}.nii"): nibabel.Nifti1Image(
            np.asarray(image.dataobj, np.float32), image.affine
        )
        for number, image in enumerate(channels, start=1)
    }
    return read_image(list(named), load=lambda path: bytes(named[path].to_bytes()))
