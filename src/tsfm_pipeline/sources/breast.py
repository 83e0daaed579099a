"""Breast DCE-MRI of Zhang et al., Patterns 2023 (Zenodo 8068383): six phases a case."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from tsfm_pipeline.sources.listing import VolumeFolder, not_found, subfolders
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase


class BreastSource(Source):
    """`<number>/{P0..P5,GT}.nii.gz`; copies with `.nii` and `gt` are about. All MR.

    Attributes:
        layout: tag of this layout.
        phase: the phase that becomes the one channel, P0 before the contrast agent. The paper
            does not say which it took.
    """

    expects: ClassVar[str] = "one folder per case, named by a number, with P0..P5 and GT .nii.gz"

    layout: Literal["breast"] = "breast"
    phase: Literal["P0", "P1", "P2", "P3", "P4", "P5"] = "P1"

    def list_cases(self, dataset: str, root: Path) -> Iterator[SourceCase]:
        """Yield the cases: the folders whose name is a number."""
        for folder in subfolders(root, r"\d+"):
            files = VolumeFolder(folder)
            label = "gt" if "gt" in files else "GT"
            yield SourceCase(
                dataset=dataset,
                case=folder.name,
                patient=f"{dataset}/{folder.name}",
                modality="MR",
                images=(files.path(self.phase),),
                labels=(LabelFile(files.path(label)),),
                problem=not_found(files.missing(self.phase, label)),
            )
