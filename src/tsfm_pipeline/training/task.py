"""What is trained on: cases of a store, regions of a label table, initial weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord


class TrainingError(ValueError):
    """A training that cannot start, or cannot go on."""


@dataclass(frozen=True)
class TrainingTask:
    """One training's data.

    Attributes:
        name: for messages and the progress bar.
        store: where the cases are.
        training: keys (`dataset/case`) of the training cases.
        validation: keys of the cases behind the pseudo-Dice; none leaves validation out.
        table: the fused label table.
        regions: the network's output channels, in order.
        initial_weights: weights (safetensors) to start from; None starts from scratch.
        target_spacing: mm (z, y, x) that the store's cases were resampled to; None where they
            keep their own. Only handed on to inference.
        pool_version: version of the pool that the cases belong to. Only handed on to the model.
    """

    name: str
    store: CaseStore
    training: Sequence[str]
    validation: Sequence[str]
    table: LabelTable
    regions: Sequence[str]
    initial_weights: Path | None = None
    target_spacing: TripleFloat | None = None
    pool_version: str = ""

    def records(self) -> dict[str, CaseRecord]:
        """Return the record of every case.

        Raises:
            TrainingError: no training case, a case in both roles, cases of different channel
                counts, or a region that no training case annotates.
        """
        if not self.training:
            raise TrainingError(f"{self.name}: there is no training case; check the split")
        both = sorted(set(self.training) & set(self.validation))
        if both:
            raise TrainingError(f"{self.name}: in training and validation: {both[:3]}")
        records = {key: self.store.record(key) for key in [*self.training, *self.validation]}
        by_channels = {record.channels: key for key, record in records.items()}
        if len(by_channels) > 1:
            raise TrainingError(
                f"{self.name}: cases of different channel counts {by_channels}; train them apart"
            )
        annotated = {name for key in self.training for name in self.annotated(records[key])}
        missing = [region for region in self.regions if region not in annotated]
        if missing or not self.regions:
            raise TrainingError(
                f"{self.name}: no training case annotates the region(s) {missing};"
                " remove them or add a dataset that does"
            )
        return records

    def annotated(self, record: CaseRecord) -> tuple[str, ...]:
        """Return the regions, in channel order, that a case annotates."""
        given = self.table.regions_annotated_by(record.annotated)
        return tuple(region for region in self.regions if region in given)
