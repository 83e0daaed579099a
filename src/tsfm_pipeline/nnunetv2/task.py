"""What nnU-Net v2 is to train on, and where its files lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tsfm_pipeline.model.folder import Weights
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.sources import Source, SourceCase

DATASET = "Dataset001_tsfm"
"""nnU-Net numbers its datasets; every task has folders of its own."""


@dataclass(frozen=True)
class NnunetTask:
    """One training of nnU-Net v2 on one dataset.

    Attributes:
        spec: name, cases, label table and regions; of its settings epochs, iterations, device and
            workers count, all else is nnU-Net's own.
        cases: the raw files of its cases by key.
        source: their dataset.
        folder: nnU-Net's files go here.
        python: of the environment that has nnunetv2.
    """

    spec: TrainingSpec
    cases: Mapping[str, SourceCase]
    source: Source
    folder: Path
    python: Path

    @property
    def targets(self) -> tuple[str, ...]:
        """The classes, in the order of their integers 1, 2, ..."""
        return self.spec.table.exclusive_targets(self.spec.regions)

    @property
    def training(self) -> list[SourceCase]:
        """The training cases."""
        return [self.cases[key] for key in self.spec.training]

    @property
    def validation(self) -> list[SourceCase]:
        """The cases that it validates on."""
        return [self.cases[key] for key in self.spec.validation]

    @property
    def test(self) -> list[SourceCase]:
        """The cases that it knows nothing of before it predicts them."""
        return [self.cases[key] for key in self.spec.test]

    @property
    def scored(self) -> list[SourceCase]:
        """The cases that it predicts: test cases, or those that it validates on."""
        return [self.cases[key] for key in self.spec.scored]

    @property
    def raw(self) -> Path:
        """Folder of the dataset in nnU-Net's raw format."""
        return self.folder / "raw" / DATASET

    def prediction(self, weights: Weights, case: str) -> Path:
        """Return where nnU-Net puts a held-out case's labels, in its integers 1, 2, ..."""
        return prediction_of(self.folder, weights, case)


def prediction_of(folder: Path, weights: Weights, case: str) -> Path:
    """Return where nnU-Net puts a held-out case's labels, in its integers 1, 2, ..."""
    return folder / "predictions" / weights / f"{case}.nii.gz"


def spec_file(folder: Path) -> Path:
    """Return the file that says what was trained in a folder."""
    return folder / "spec.json"
