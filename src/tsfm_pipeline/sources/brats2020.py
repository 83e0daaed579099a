"""BraTS2020 training data (www.med.upenn.edu/cbica/brats2020): four MR channels a case."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, get_args

from tsfm_pipeline.sources.listing import VolumeFolder, not_found, subfolders
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase

Channel = Literal["t1", "t1ce", "t2", "flair"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
"""Channel order, as in nnU-Net's Task082."""


class Brats2020Source(Source):
    """`BraTS20_Training_001/BraTS20_Training_001_{t1,t1ce,t2,flair,seg}.nii.gz`.

    The case folders lie in `folder`, or one level deeper in a folder named
    MICCAI_BraTS2020_TrainingData, as in the Kaggle copy, whose files are `.nii`.

    In the common copy the mask of case 355 is named `W39_1998.09.19_Segm.nii`. Such a case is
    listed with a problem that names the file: the paper's 368 cases are the 369 without it.

    Attributes:
        layout: tag of this layout.
        channels: which channels to read, in this order; empty reads all. One fits a network that
            was pre-trained on one channel as it is.
    """

    expects: ClassVar[str] = "BraTS20_Training_001/BraTS20_Training_001_{t1,...,seg}.nii[.gz]"

    layout: Literal["brats2020"] = "brats2020"
    channels: tuple[Channel, ...] = ()

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the cases with their images in the order of `channels`, or of CHANNELS."""
        inner = root / "MICCAI_BraTS2020_TrainingData"
        for folder in subfolders(inner if inner.is_dir() else root, r"BraTS20_Training_\d+"):
            files = VolumeFolder(folder)
            label = f"{folder.name}_seg"
            known = {label, *(f"{folder.name}_{channel}" for channel in CHANNELS)}
            channels = [f"{folder.name}_{channel}" for channel in self.channels or CHANNELS]
            strays = [files.path(name).name for name in files.names() if name not in known]
            remedy = f"The folder also holds {strays}: rename a misnamed file." if strays else ""
            yield self.make_case(
                case=folder.name,
                modality="MR",
                images=tuple(files.path(name) for name in channels),
                labels=(LabelFile(files.path(label)),),
                problem=not_found(files.missing(*channels, label), remedy),
            )
