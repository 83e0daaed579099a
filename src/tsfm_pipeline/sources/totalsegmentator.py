"""TotalSegmentator v1 and v2 (Zenodo 6802614, 10047292): one binary file per class."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from tsfm_pipeline.sources.listing import VolumeFolder, not_found, subfolders
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase


class TotalSegmentatorSource(Source):
    """`s0000/ct.nii.gz` and `s0000/segmentations/<class>.nii.gz`; meta.csv is not needed.

    Keys of `labels` are class names, so that both releases are read by one table although their
    numbering differs. Where masks overlap, the class that comes later in `labels` is to win, as
    in the publisher's own converter. A class without a file is absent from the case.

    Attributes:
        layout: tag of this layout.
    """

    expects: ClassVar[str] = "s0000/ct.nii.gz and s0000/segmentations/*.nii.gz"
    class_files: ClassVar[bool] = True

    layout: Literal["totalsegmentator"] = "totalsegmentator"

    def list_cases(self, dataset: str, root: Path) -> Iterator[SourceCase]:
        """Yield the cases, their label files in the order of `labels`."""
        wanted = [str(name) for name, target in self.labels.items() if target is not None]
        for folder in subfolders(root, r"s\d+"):
            files, masks = VolumeFolder(folder), VolumeFolder(folder / "segmentations")
            labels = [LabelFile(masks.path(name), name) for name in wanted if name in masks]
            problem = not_found(files.missing("ct"))
            if not labels:
                problem += (
                    f" {masks.folder} holds none of the classes in `datasets.{dataset}.labels`."
                )
            yield SourceCase(
                dataset=dataset,
                case=folder.name,
                patient=f"{dataset}/{folder.name}",
                modality="CT",
                images=(files.path("ct"),),
                labels=tuple(labels),
                problem=problem.strip(),
            )
