"""An entry of the experiment grid as a catalogue entry, so that lineage shows it."""

import json
from dataclasses import asdict
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import JSONPreview

from tsfm_pipeline.experiments.grid import BY_FLAT_NAME, Experiment


class ExperimentDataset(AbstractDataset[NoReturn, Experiment]):
    """Give a node the description of its experiment."""

    def __init__(self, *, name: str, metadata: dict[str, Any] | None = None) -> None:
        """Name the experiment, with underscores for dots."""
        self._name = name
        self.metadata = metadata

    def load(self) -> Experiment:
        """Return the grid's entry."""
        if self._name not in BY_FLAT_NAME:
            raise DatasetError(f"no experiment {self._name!r} in the grid")
        return BY_FLAT_NAME[self._name]

    def save(self, data: NoReturn) -> None:
        """Refuse: the grid is code."""
        raise DatasetError("the experiment grid cannot be written by a node")

    def _exists(self) -> bool:
        return self._name in BY_FLAT_NAME

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name}

    def preview(self) -> JSONPreview:
        """Return the description as JSON."""
        return JSONPreview(json.dumps(asdict(self.load())))
