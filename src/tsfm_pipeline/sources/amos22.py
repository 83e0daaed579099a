"""AMOS22 (Zenodo 7262581): CT and MR abdomens in one folder, told apart by their number."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from tsfm_pipeline.sources.dataset_json import NAME, numbered_labels, read_header
from tsfm_pipeline.sources.listing import VolumeFolder, not_found
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase

FIRST_MR = 500  # readme.md: "id numbers less than 500 belong to CT data, otherwise MRI"


class _Header(BaseModel):
    labels: dict[str, Any] = {}


class Amos22Source(Source):
    """`imagesTr/amos_0001.nii.gz` and `labelsTr/amos_0001.nii.gz`, likewise Va.

    dataset.json lists the CT cases alone in some releases, so the folders count; its labels are
    compared where it is there. The release of the challenge's time has no labelsVa.

    Attributes:
        layout: tag of this layout.
        splits: the labelled parts to use; the paper's 2779 cases add up with `Tr` alone.
    """

    expects: ClassVar[str] = "imagesTr/amos_0001.nii.gz and labelsTr/amos_0001.nii.gz"

    layout: Literal["amos22"] = "amos22"
    splits: tuple[Literal["Tr", "Va"], ...] = ("Tr",)

    def published_labels(self, root: Path) -> Mapping[int, str]:
        """Return the label values that dataset.json lists, if there is one."""
        if not (root / NAME).is_file():
            return {}
        return numbered_labels(read_header(self.name, root, _Header).labels)

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the cases of the chosen splits; files of other names are no cases."""
        for split in self.splits:
            images = VolumeFolder(root / f"images{split}")
            labels = VolumeFolder(root / f"labels{split}")
            for case in sorted({*images.names(), *labels.names()}):
                match = re.fullmatch(r"amos_(\d+)", case)
                if match is None:
                    continue
                yield self.make_case(
                    case=case,
                    modality="CT" if int(match[1]) < FIRST_MR else "MR",
                    images=(images.path(case),),
                    labels=(LabelFile(labels.path(case)),),
                    problem=not_found(images.missing(case) + labels.missing(case)),
                )
