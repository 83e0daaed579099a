"""Segment one scan: the Python call, and the steps that the command shares with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
import SimpleITK as sitk
from numpy.typing import NDArray

from tsfm_pipeline.imaging.labels import LEFT_RIGHT, LabelTable
from tsfm_pipeline.imaging.volume import ImageVolume
from tsfm_pipeline.inference.case import predict_case
from tsfm_pipeline.inference.model import SegmentationModel, load_model
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.scans.finding import Scan, find_scans
from tsfm_pipeline.scans.label_files import label_names
from tsfm_pipeline.scans.loading import LoadedScan, load_scan, prepare_volume, volume_of
from tsfm_pipeline.scans.problem import ScanError
from tsfm_pipeline.sources.source import Modality

VOLUME_COLUMNS = ("scan", "target", "label", "includes", "voxels", "volume_ml", "mean_intensity")

Images: TypeAlias = Path | str | sitk.Image | Sequence[Path | str] | Sequence[sitk.Image]


@dataclass(frozen=True)
class Segmentation:
    """A segmented scan.

    Attributes:
        labels: integers on the scan's own grid.
        names: integer -> target.
        volumes: one row per target: VOLUME_COLUMNS without `scan`, see `measure_targets`.
        modality: as what the scan was segmented.
        notes: what was decided or repaired on the way, in sentences.
    """

    labels: sitk.Image
    names: dict[int, str]
    volumes: pd.DataFrame
    modality: Modality
    notes: tuple[str, ...]


def segment(
    images: Images,
    model: SegmentationModel | Path | str,
    targets: Sequence[str] | None = None,
    *,
    modality: Modality | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    settings: InferenceSettings | None = None,
) -> Segmentation:
    """Segment one scan.

    >>> segmentation = segment("ct.nii.gz", "weights", ["liver"])
    >>> segmentation.names
    {5: 'liver'}
    >>> segmentation.volumes[["target", "label", "includes"]].to_dict("records")
    [{'target': 'liver', 'label': 5, 'includes': ''}]
    >>> import SimpleITK
    >>> SimpleITK.WriteImage(segmentation.labels, "liver.nii.gz")

    Args:
        images: a file, a DICOM folder of one series, a SimpleITK image, or a sequence of files or
            images, one per channel of the model.
        model: a model folder, or what `inference.model.load_model` made of one (which saves
            loading it for each of many scans).
        targets: those wanted; all that the model knows if left out.
        modality: CT or MR, where neither DICOM nor the model tells.
        device: where a model folder is loaded to.
        settings: of the sliding window.

    Raises:
        ScanError, VolumeError, IntensityError: the scan can't be segmented; the message says why
            and what to do.
        ModelError: no usable model folder, or a target that the model does not know.
    """
    if not isinstance(model, SegmentationModel):
        model = open_model(ModelFolder(Path(model)), device)
    regions = choose_regions(model.card, targets or ())
    loaded = _loaded(images, model.card, modality)
    labels_ZYX = segment_loaded(model, loaded, regions, settings or InferenceSettings())
    rows = measure_targets(labels_ZYX, loaded.volume, regions, model.card.table)
    return Segmentation(
        labels=label_image(labels_ZYX, loaded.volume),
        names=label_names(model.card.table, regions),
        volumes=pd.DataFrame(rows, columns=list(VOLUME_COLUMNS[1:])),
        modality=loaded.modality,
        notes=loaded.notes,
    )


def open_model(
    folder: ModelFolder, device: Literal["auto", "cpu", "cuda"] = "auto"
) -> SegmentationModel:
    """Load a model folder, released or as training left it."""
    return load_model(folder, folder.used_weights(), device)


def choose_regions(card: ModelCard, targets: Sequence[str]) -> tuple[str, ...]:
    """Return the wanted regions in the model's order, all of them for none.

    Raises:
        ModelError: the model does not know a target; the message lists those it knows.
    """
    unknown = [target for target in targets if target not in card.regions]
    if unknown:
        raise ModelError(
            f"model {card.name} does not know {', '.join(unknown)}; it knows"
            f" {', '.join(sorted(card.regions))}"
        )
    return tuple(name for name in card.regions if not targets or name in targets)


def mirror_axes(card: ModelCard) -> tuple[Literal[0, 1, 2], ...]:
    """Return the axes along which a mirrored scan may be predicted and averaged in.

    Those that training mirrored; left-right only where no target of the model has a side: in the
    mirrored scan its right kidney is a left one, however the model was trained.

    Raises:
        ModelError: there is none.
    """
    predicted = card.table.exclusive_targets(card.regions)
    sided = card.table.side_partners().keys() & set(predicted)
    trained = card.settings.augmentation.mirror_axes
    axes = tuple(axis for axis in trained if axis != LEFT_RIGHT or not sided)
    if not axes:
        names = ", ".join(sorted(sided))
        why = f"left-right alone, and {names} have a side" if trained else "never"
        raise ModelError(
            f"the training of model {card.name} mirrored scans {why}; leave out --mirror"
        )
    return axes


def segment_loaded(
    model: SegmentationModel,
    loaded: LoadedScan,
    regions: Sequence[str],
    settings: InferenceSettings,
) -> NDArray[np.uint8]:
    """Return the label integers (z, y, x) on the scan's whole canonical grid."""
    return predict_case(
        model, loaded.prepared_CZYX, loaded.modality, loaded.grid, regions, settings
    )


def label_image(labels_ZYX: NDArray[np.uint8], volume: ImageVolume) -> sitk.Image:
    """Return canonical labels as an image on the scan's own grid."""
    grid = volume.file_geometry
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.reorientation.invert(labels_ZYX)))
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    image.SetDirection([value for row in grid.direction for value in row])
    return image


def measure_targets(
    labels_ZYX: NDArray[np.uint8],
    volume: ImageVolume,
    regions: Sequence[str],
    table: LabelTable,
) -> list[dict[str, object]]:
    """Measure each target: its voxels, volume and mean intensity.

    A region of several targets counts them all, whatever integer they are painted with: the liver
    includes its tumour, as in the label table. Column `includes` names them.

    Returns:
        Per region a row with VOLUME_COLUMNS but `scan`; the volume in ml, the intensity (HU for
        CT) that of the first channel as the file holds it, None where the target is absent.
    """
    flat = labels_ZYX.ravel()
    voxels = np.bincount(flat, minlength=256)
    sums = np.bincount(flat, weights=volume.array[0].ravel(), minlength=256)
    voxel_ml = float(np.prod(volume.geometry.spacing)) / 1000
    rows: list[dict[str, object]] = []
    for region in regions:
        ids = list(table.region_ids(region))
        painted = [name for name in regions if table.region_ids(name)[0] in ids[1:]]
        count = int(voxels[ids].sum())
        rows.append(
            {
                "target": region,
                "label": ids[0],
                "includes": " ".join(painted),
                "voxels": count,
                "volume_ml": round(count * voxel_ml, 4),
                "mean_intensity": round(float(sums[ids].sum()) / count, 2) if count else None,
            }
        )
    return rows


def _loaded(images: Images, card: ModelCard, modality: Modality | None) -> LoadedScan:
    given = [images] if isinstance(images, str | Path | sitk.Image) else list(images)
    pictures = [image for image in given if isinstance(image, sitk.Image)]
    if pictures and len(pictures) == len(given):
        return prepare_volume(volume_of(pictures), card, None, modality)
    paths = [Path(image) for image in given if not isinstance(image, sitk.Image)]
    if len(paths) != len(given):
        raise ScanError("paths and images are mixed; give the channels as one or the other")
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
