"""The 50 labelled cases of FLARE22, the 13-organ extension of AbdomenCT-1K (Zenodo 7860267)."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from tsfm_pipeline.sources.listing import VolumeFolder, not_found
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase

CHANNEL_SUFFIX = "_0000"


class Flare22Source(Source):
    """`images/FLARE22_Tr_0001_0000.nii.gz` and `labels/FLARE22_Tr_0001.nii.gz`; all CT.

    Attributes:
        layout: tag of this layout.
    """

    expects: ClassVar[str] = "images/FLARE22_Tr_0001_0000.nii.gz, labels/FLARE22_Tr_0001.nii.gz"

    layout: Literal["flare22"] = "flare22"

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the cases, named as their label file."""
        images, labels = VolumeFolder(root / "images"), VolumeFolder(root / "labels")
        for case in sorted(
            {*labels.names(), *(name.removesuffix(CHANNEL_SUFFIX) for name in images.names())}
        ):
            image = f"{case}{CHANNEL_SUFFIX}"
            yield self.make_case(
                case=case,
                modality="CT",
                images=(images.path(image),),
                labels=(LabelFile(labels.path(case)),),
                problem=not_found(images.missing(image) + labels.missing(case)),
            )
