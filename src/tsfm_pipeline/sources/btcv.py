"""BTCV, "Beyond the Cranial Vault", abdomen (Synapse syn3193805, RawData.zip)."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from tsfm_pipeline.sources.listing import VolumeFolder, not_found
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase


class BtcvSource(Source):
    """`Training/img/img0001.nii.gz` and `Training/label/label0001.nii.gz`; all CT.

    The case identifier is the image's name. The unlabelled test images (`Testing/` or
    `Test/`, by copy) are passed over.

    Attributes:
        layout: tag of this layout.
    """

    expects: ClassVar[str] = "Training/img/img0001.nii.gz and Training/label/label0001.nii.gz"

    layout: Literal["btcv"] = "btcv"

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the training cases; files of other names are no cases."""
        images = VolumeFolder(root / "Training" / "img")
        labels = VolumeFolder(root / "Training" / "label")
        numbers = {name.removeprefix("img") for name in images.names() if name.startswith("img")}
        numbers |= {n.removeprefix("label") for n in labels.names() if n.startswith("label")}
        for number in sorted(numbers):
            case, label = f"img{number}", f"label{number}"
            yield self.make_case(
                case=case,
                modality="CT",
                images=(images.path(case),),
                labels=(LabelFile(labels.path(label)),),
                problem=not_found(images.missing(case) + labels.missing(label)),
            )
