"""The record of one training as a catalogue entry; absent means 'not run'."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview

from tsfm_pipeline.experiments.grid import BY_FLAT_NAME
from tsfm_pipeline.experiments.record import ModelRecord


class ModelRecordDataset(AbstractDataset[ModelRecord, ModelRecord]):
    """JSON file of a ModelRecord."""

    def __init__(
        self, *, filepath: str, experiment: str, metadata: dict[str, Any] | None = None
    ) -> None:
        """Name the file, and the experiment (underscores for dots) it speaks of."""
        self._path = Path(filepath)
        self._experiment = experiment
        self.metadata = metadata

    def load(self) -> ModelRecord:
        """Return the record; one that says 'not run' when nothing was saved."""
        if not self._path.is_file():
            name = BY_FLAT_NAME[self._experiment].name
            return ModelRecord(experiment=name, status="not run", reason="not run yet")
        return ModelRecord.model_validate_json(self._path.read_text())

    def save(self, data: ModelRecord) -> None:
        """Write the record."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(data.model_dump_json(indent=1))

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}

    def preview(self) -> JSONPreview:
        """Return the record as JSON."""
        return JSONPreview(self.load().model_dump_json())
