"""A dataset in nnU-Net v2's raw format, which its images are linked into.

Its documentation (`documentation/dataset_format.md` of nnunetv2 2.8): imagesTr/CASE_0000.nii.gz per
channel, labelsTr/CASE.nii.gz with the integers 0 to n, imagesTs for test cases, dataset.json; the
split lies in splits_final.json.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from tqdm import tqdm

from tsfm_pipeline.files import write_text
from tsfm_pipeline.files.folder import atomic_folder
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.nifti_writing import write_nifti
from tsfm_pipeline.imaging.volume import read_image, write_label
from tsfm_pipeline.nnunetv2.task import NnunetTask
from tsfm_pipeline.preparation.labels import read_targets
from tsfm_pipeline.sources import Source, SourceCase

ENDING = ".nii.gz"


def export_dataset(task: NnunetTask) -> None:
    """Link images, write labels and dataset.json; what is there already is kept."""
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (task.raw / name).mkdir(parents=True, exist_ok=True)
    cases = [*task.training, *task.validation]
    for case in tqdm(cases, desc=f"{task.spec.name}: export", unit="case", disable=None):
        _export_images(task, case)
        _export_labels(task, case)
    for case in task.test:
        _export_images(task, case)
    channels = len(cases[0].images)
    # "CT" chooses nnU-Net's normalisation of CT; any other name is z-scored
    names = ["CT" if case.modality == "CT" else "MR" for case in cases]
    kind = "CT" if set(names) == {"CT"} else "MR"
    described = {
        "channel_names": {
            str(channel): kind if channels == 1 else f"{kind}{channel}"
            for channel in range(channels)
        },
        "labels": {"background": 0}
        | {target: number for number, target in enumerate(task.targets, 1)},
        "numTraining": len(cases),
        "file_ending": ENDING,
    }
    write_text(task.raw / "dataset.json", json.dumps(described, indent=1))
    split = [{"train": [c.case for c in task.training], "val": [c.case for c in task.validation]}]
    write_text(task.folder / "splits_final.json", json.dumps(split, indent=1))


def image_files(task: NnunetTask, case: SourceCase) -> list[Path]:
    """Return the links to a case's channels."""
    folder = task.raw / ("imagesTs" if case.key in task.spec.test else "imagesTr")
    return [folder / f"{case.case}_{channel:04d}{ENDING}" for channel in range(len(case.images))]


def _export_images(task: NnunetTask, case: SourceCase) -> None:
    for link, image in zip(image_files(task, case), case.images, strict=True):
        if link.is_symlink() or link.exists():
            continue
        if image.name.endswith(ENDING):
            link.symlink_to(image.absolute())
        else:
            write_nifti(link, sitk.ReadImage(str(image)))


def import_labels(
    labels: Path, path: Path, targets: Sequence[str], source: Source, table: LabelTable
) -> None:
    """Write what nnU-Net predicted as the dataset's own label file or files.

    Args:
        labels: of nnU-Net, on the grid of the raw image.
        path: see `preparation.labels.prediction_path`.
        targets: the classes 1, 2, ...
        source: the dataset.
        table: the fused label table.
    """
    image = sitk.ReadImage(str(labels))
    array = sitk.GetArrayFromImage(image)
    values = source.source_values(table)
    named = [values[table.id_of(target)] for target in targets]
    if source.class_files:
        with atomic_folder(path) as folder:
            for number, name in enumerate(named, 1):
                _write(folder / f"{name}{ENDING}", (array == number).astype(np.uint8), image)
        return
    whole = [0, *map(int, named)]
    lookup = np.array(whole, np.min_scalar_type(max(whole)))
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, lookup[array], image)


def _write(path: Path, array_ZYX: NDArray[np.unsignedinteger], like: sitk.Image) -> None:
    written = sitk.GetImageFromArray(array_ZYX)
    written.CopyInformation(like)
    write_nifti(path, written)


def _export_labels(task: NnunetTask, case: SourceCase) -> None:
    path = task.raw / "labelsTr" / f"{case.case}{ENDING}"
    if path.exists():
        return
    image = read_image(case.images)
    lookup = np.zeros(256, np.uint8)
    for number, target in enumerate(task.targets, 1):
        lookup[task.spec.table.id_of(target)] = number
    labels_ZYX = lookup[read_targets(case, task.source, task.spec.table, image)]
    write_label(path, labels_ZYX, (image.file_geometry, image.reorientation))
