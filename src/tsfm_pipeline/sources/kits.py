"""KiTS19 and KiTS21: one folder per case in a git repository (github.com/neheller)."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from tsfm_pipeline.sources.listing import VolumeFolder, not_found, subfolders
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase


class KitsSource(Source):
    """`data/case_00000/{imaging,<label_file>}.nii.gz`.

    KiTS21 includes the scans of KiTS19 under the same numbers (its changelog 0.0.1), so a case
    number is one patient in both.

    Attributes:
        layout: tag of this layout.
        label_file: name of the label map without suffix: `segmentation` in KiTS19,
            `aggregated_MAJ_seg`, the majority of the annotators, in KiTS21.
        first_unlabelled: cases from this number on have no label in the public release and are
            passed over; null where all have one.
    """

    expects: ClassVar[str] = "data/case_00000/ with imaging.nii.gz and the label file"

    layout: Literal["kits"] = "kits"
    label_file: str
    first_unlabelled: int | None = None

    def patient_of(self, case: str) -> str:
        """Return the case number, the patient's name in both releases."""
        return f"kits_{_number(case):05d}"

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the cases of `data/`, of `<folder>/data/` as in a clone of the repository, or both.

        KiTS21's get_imaging.sh puts images into the former, beside the labels' folder (issue 47).
        """
        places = [place for place in (root / "data", root / root.name / "data") if place.is_dir()]
        found = {folder.name for place in places for folder in subfolders(place, r"case_\d{5}")}
        for case in sorted(found):
            folders = [VolumeFolder(place / case) for place in places]
            images, labels = _holding("imaging", folders), _holding(self.label_file, folders)
            unlabelled = (
                self.first_unlabelled is not None and _number(case) >= self.first_unlabelled
            )
            if unlabelled and self.label_file not in labels:
                continue
            yield self.make_case(
                case=case,
                modality="CT",
                images=(images.path("imaging"),),
                labels=(LabelFile(labels.path(self.label_file)),),
                problem=not_found(
                    images.missing("imaging") + labels.missing(self.label_file),
                    "Images are fetched by the repository's starter_code/get_imaging.py.",
                ),
            )


def _holding(name: str, folders: list[VolumeFolder]) -> VolumeFolder:
    return next((folder for folder in folders if name in folder), folders[-1])


def _number(case: str) -> int:
    return int(case.removeprefix("case_"))
