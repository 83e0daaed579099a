"""Any folder in the Medical Segmentation Decathlon's format (medicaldecathlon.com)."""

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from tsfm_pipeline.sources.dataset_json import NAME, climbing, listed, numbered_labels, read_header
from tsfm_pipeline.sources.generic import GenericSource
from tsfm_pipeline.sources.listing import VolumeFolder, not_found, volume_name
from tsfm_pipeline.sources.source import LabelFile, Modality, SourceCase, SourceError

logger = logging.getLogger(__name__)


class _Pair(BaseModel):
    """One entry of the training list."""

    image: str
    label: str | None = None

    @property
    def label_or_default(self) -> str:
        return self.label or f"labelsTr/{Path(self.image).name}"


class _Header(BaseModel):
    """The keys of dataset.json that are read; publishers add and misspell others freely."""

    modality: dict[str, str] = {}
    labels: dict[str, Any] = {}
    training: list[_Pair] = []


class MsdSource(GenericSource):
    """`dataset.json`, `imagesTr/NAME.nii.gz` and `labelsTr/NAME.nii.gz`, same name for both.

    Cases are those of the training list in dataset.json, or, where it has none, the files of
    imagesTr and labelsTr. The case identifier is NAME. Datasets of several channels (Task01,
    Task05) keep them in one 4-D file, which is not read: their cases are listed with a problem.

    Attributes:
        layout: tag of this layout.
        modality: overrides the modality that dataset.json names.
    """

    expects: ClassVar[str] = "dataset.json, imagesTr/*.nii.gz and labelsTr/*.nii.gz"

    layout: Literal["msd"] = "msd"
    modality: Modality | None = None

    def published_labels(self, root: Path) -> Mapping[int, str]:
        """Return the label values that dataset.json lists."""
        return numbered_labels(read_header(self.name, root, _Header).labels)

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the cases; raise SourceError where dataset.json or its modality is of no use."""
        header = read_header(self.name, root, _Header)
        modality = self.modality or self._modality_in(root / NAME, header)
        folder = cache(VolumeFolder)
        used: set[Path] = set()
        for pair in header.training or _pairs(root):
            image, label = listed(root, pair.image), listed(root, pair.label_or_default)
            case, label_name = (volume_name(path.name) or path.name for path in (image, label))
            problem = climbing(pair.image, pair.label_or_default) or _several_volumes(header)
            if problem:
                images, labels = image, label
            else:
                image_folder, label_folder = folder(image.parent), folder(label.parent)
                images, labels = image_folder.path(case), label_folder.path(label_name)
                problem = not_found(image_folder.missing(case) + label_folder.missing(label_name))
            used.add(images)
            yield self.make_case(
                case=case,
                modality=modality,
                images=(images,),
                labels=(LabelFile(labels),),
                problem=problem,
            )
        self._warn_of_unlisted(folder(root / "imagesTr"), used)

    def _modality_in(self, path: Path, header: _Header) -> Modality:
        """Translate 'CT', 'MRI', 'MR T1', ...; refuse what disagrees or says anything else."""
        found = {name.strip().upper()[:2] for name in header.modality.values()}
        if found == {"CT"}:
            return "CT"
        if found == {"MR"}:
            return "MR"
        raise SourceError(
            f"datasets.{self.name}: {path} names the modality {header.modality}, neither CT nor MR."
            f" Say which it is with `datasets.{self.name}.modality`."
        )

    def _warn_of_unlisted(self, images: VolumeFolder, used: set[Path]) -> None:
        unlisted = [name for name in images.names() if images.path(name) not in used]
        if unlisted:
            logger.warning(
                "datasets.%s: %d volumes of %s are not in the training list of %s and are not used,"
                " %s first; add them to the list, or remove the list to use all",
                self.name,
                len(unlisted),
                images.folder,
                NAME,
                unlisted[0],
            )


def _several_volumes(header: _Header) -> str:
    if len(header.modality) < 2:
        return ""
    return (
        f"{NAME} names {len(header.modality)} channels, which this format keeps in one 4-D file;"
        " one 3-D volume per file is read. Split them into one file per channel"
        " (nnUNetv2_convert_MSD_dataset does) and use `layout: nnunet`, which can also choose"
        " channels."
    )


def _pairs(root: Path) -> Iterator[_Pair]:
    """Yield image and label of each training case as the folders name them."""
    names = (VolumeFolder(root / folder).names() for folder in ("imagesTr", "labelsTr"))
    for name in sorted({name for folder in names for name in folder}):
        yield _Pair(image=f"imagesTr/{name}.nii.gz", label=f"labelsTr/{name}.nii.gz")
