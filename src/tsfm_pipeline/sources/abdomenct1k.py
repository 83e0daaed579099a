"""AbdomenCT-1K itself (github.com/JunMa11/AbdomenCT-1K): 1000 CT with four organs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from tsfm_pipeline.sources.listing import VolumeFolder, not_found, subfolders
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase

CHANNEL_SUFFIX = "_0000"


class AbdomenCT1KSource(Source):
    """`Case_00001_0000.nii.gz` in one or more folders, `Mask/Case_00001.nii.gz`.

    The images come in parts, whose folders' names differ between copies (`Images`,
    `AbdomenCT-1K-ImagePart1`, ...): every folder below `folder` is searched, and `folder` itself.
    Masks are in `Mask` or `Masks`. The 62 images without a mask are passed over.

    Attributes:
        layout: tag of this layout.
        first: how many cases to use, by number; null uses all. One reading of the paper's "50
            cases"; the other is FLARE22's labelled part (layout `flare22`).
    """

    expects: ClassVar[str] = "Mask/Case_00001.nii.gz, and folders with Case_00001_0000.nii.gz"

    layout: Literal["abdomenct1k"] = "abdomenct1k"
    first: int | None = Field(default=None, ge=1)

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the cases that have a mask."""
        folders = subfolders(root, r"[^._].*")
        masks = next(
            (VolumeFolder(folder) for folder in folders if re.fullmatch("Masks?", folder.name)),
            VolumeFolder(root / "Mask"),
        )
        parts = [VolumeFolder(folder) for folder in (root, *folders) if folder != masks.folder]
        cases = [name for name in masks.names() if re.fullmatch(r"Case_\d{5}", name)]
        for case in cases[: self.first]:
            image = f"{case}{CHANNEL_SUFFIX}"
            images = next((part for part in parts if image in part), parts[0])
            yield self.make_case(
                case=case,
                modality="CT",
                images=(images.path(image),),
                labels=(LabelFile(masks.path(case)),),
                problem=not_found(images.missing(image)),
            )
