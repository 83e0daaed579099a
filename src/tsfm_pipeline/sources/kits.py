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
        """Yield the cases of `data/`, or of `<folder>/data/` as in a clone of the repository."""
        data = root / "data"
        if not data.is_dir():
            data = root / root.name / "data"
        if not data.is_dir():
            return
        for folder in subfolders(data, r"case_\d{5}"):
            files = VolumeFolder(folder)
            unlabelled = (
                self.first_unlabelled is not None and _number(folder.name) >= self.first_unlabelled
            )
            if unlabelled and self.label_file not in files:
                continue
            yield self.make_case(
                case=folder.name,
                modality="CT",
                images=(files.path("imaging"),),
                labels=(LabelFile(files.path(self.label_file)),),
                problem=not_found(
                    files.missing("imaging", self.label_file),
                    "Images are fetched by the repository's starter_code/get_imaging.py.",
                ),
            )


def _number(case: str) -> int:
    return int(case.removeprefix("case_"))
