"""What is trained on: cases of a store, regions of a label table, initial weights."""

from functools import cached_property
from pathlib import Path

from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord


class TrainingError(ValueError):
    """A training that cannot start, or cannot go on."""


class TrainingTask(TrainingSpec):
    """One training, as its caller describes it and as the processes of a group read it.

    Attributes:
        store: folder of the case store.
        initial_weights: weights (safetensors) to start from; None starts from scratch.
        threads: CPU threads of each process of a group; None leaves torch's choice.
    """

    store: Path
    initial_weights: Path | None = None
    threads: int | None = None

    @cached_property
    def cases(self) -> CaseStore:
        """The store, opened."""
        return CaseStore(self.store)

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
        records = {key: self.cases.record(key) for key in [*self.training, *self.validation]}
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
        """Return the regions, in channel order, that a case annotates, by their parts or itself."""
        given = self.table.regions_supervised_by(record.annotated)
        return tuple(region for region in self.regions if region in given)
