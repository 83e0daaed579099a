"""Any folder in the Medical Segmentation Decathlon's format (medicaldecathlon.com)."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel

from tsfm_pipeline.sources.listing import VolumeFolder, not_found, volume_name
from tsfm_pipeline.sources.source import LabelFile, Modality, Source, SourceCase, SourceError


class _Pair(BaseModel):
    """One entry of the training list."""

    image: str
    label: str | None = None


class _Header(BaseModel):
    """The keys of dataset.json that are read; publishers add and misspell others freely."""

    modality: dict[str, str] = {}
    training: list[_Pair] = []


class MsdSource(Source):
    """`dataset.json`, `imagesTr/NAME.nii.gz` and `labelsTr/NAME.nii.gz`, same name for both.

    Cases are those of the training list in dataset.json, or, where it has none, the files of
    imagesTr and labelsTr. The case identifier is NAME.

    Attributes:
        layout: tag of this layout.
        modality: overrides the modality that dataset.json names.
    """

    expects: ClassVar[str] = "dataset.json, imagesTr/*.nii.gz and labelsTr/*.nii.gz"

    layout: Literal["msd"] = "msd"
    modality: Modality | None = None

    def list_cases(self, dataset: str, root: Path) -> Iterator[SourceCase]:
        """Yield the cases; raise SourceError where dataset.json or its modality is of no use."""
        header_file = root / "dataset.json"
        header = _read_header(dataset, header_file)
        modality = self.modality or _modality(dataset, header_file, header)
        folder = cache(VolumeFolder)
        for image, label in _pairs(root, header):
            case, label_name = (volume_name(path.name) or path.name for path in (image, label))
            images, labels = folder(image.parent), folder(label.parent)
            yield SourceCase(
                dataset=dataset,
                case=case,
                patient=f"{dataset}/{case}",
                modality=modality,
                images=(images.path(case),),
                labels=(LabelFile(labels.path(label_name)),),
                problem=not_found(images.missing(case) + labels.missing(label_name)),
            )


def _read_header(dataset: str, path: Path) -> _Header:
    try:
        return _Header.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SourceError(
            f"datasets.{dataset}: {path} can't be read as an MSD header: {error}. Every folder of"
            " this layout needs one; download it again or write it."
        ) from error


def _modality(dataset: str, path: Path, header: _Header) -> Modality:
    """Translate 'CT', 'MRI', 'MR T1', ...; refuse channels that disagree or say anything else."""
    found = {name.strip().upper()[:2] for name in header.modality.values()}
    if found == {"CT"}:
        return "CT"
    if found == {"MR"}:
        return "MR"
    raise SourceError(
        f"datasets.{dataset}: {path} names the modality {header.modality}, neither CT nor MR."
        f" Say which it is with `datasets.{dataset}.modality`."
    )


def _pairs(root: Path, header: _Header) -> Iterator[tuple[Path, Path]]:
    """Yield image and label of each training case as dataset.json or the folders name them."""
    for pair in header.training:
        image = root / pair.image
        yield image, root / (pair.label or f"labelsTr/{image.name}")
    if not header.training:
        images, labels = VolumeFolder(root / "imagesTr"), VolumeFolder(root / "labelsTr")
        for name in sorted({*images.names(), *labels.names()}):
            yield images.path(name), labels.path(name)
