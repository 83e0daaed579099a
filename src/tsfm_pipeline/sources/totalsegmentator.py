"""TotalSegmentator v1 and v2 (Zenodo 6802614, 10047292): one binary file per class."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from tsfm_pipeline.sources.listing import VolumeFolder, closed, not_found, subfolders
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase, SourceError

META = "meta.csv"


class TotalSegmentatorSource(Source):
    """`s0000/ct.nii.gz` and `s0000/segmentations/<class>.nii.gz`.

    Keys of `labels` are class names, so that one reader serves both releases although their
    numbering differs: the entry's `labels` choose the release's classes. Where masks overlap, the
    class that comes later in `labels` is to win, as in the publisher's own converter. A class
    without a file is absent from the case.

    Attributes:
        layout: tag of this layout.
        splits: the publisher's parts to use, from the `split` column of meta.csv; empty uses all
            cases and needs no meta.csv.
    """

    expects: ClassVar[str] = "s0000/ct.nii.gz and s0000/segmentations/*.nii.gz"
    class_files: ClassVar[bool] = True

    layout: Literal["totalsegmentator"] = "totalsegmentator"
    splits: tuple[Literal["train", "val", "test"], ...] = ()

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the cases, their label files in the order of `labels`."""
        wanted = [str(name) for name, target in self.labels.items() if target is not None]
        chosen = self._chosen(root) if self.splits else None
        for folder in subfolders(root, r"s\d+"):
            if chosen is not None and folder.name not in chosen:
                continue
            files, masks = VolumeFolder(folder), VolumeFolder(folder / "segmentations")
            labels = [LabelFile(masks.path(name), name) for name in wanted if name in masks]
            problem = not_found(files.missing("ct")) or closed(masks.folder)
            if not labels and not problem:
                problem = (
                    f"{masks.folder} holds none of the classes in `datasets.{self.name}.labels`."
                )
            yield self.make_case(
                case=folder.name,
                modality="CT",
                images=(files.path("ct"),),
                labels=tuple(labels),
                problem=problem,
            )

    def _chosen(self, root: Path) -> set[str]:
        """Return the cases that meta.csv, separated by `;`, assigns to the chosen splits."""
        path = root / META
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file, delimiter=";"))
            return {row["image_id"] for row in rows if row["split"] in self.splits}
        except (OSError, UnicodeDecodeError, KeyError) as error:
            raise SourceError(
                f"datasets.{self.name}.splits: {path} can't be read or lacks the columns image_id"
                f" and split ({error}). Download it again, or remove `splits` to use all cases."
            ) from error
