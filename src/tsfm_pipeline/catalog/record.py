"""A record, which is a frozen pydantic model, as a catalogue entry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro.utils import load_obj
from kedro_datasets._typing import JSONPreview
from pydantic import ValidationError

from tsfm_pipeline.files import write_text
from tsfm_pipeline.frozen import FrozenModel


class RecordDataset(AbstractDataset[FrozenModel, FrozenModel]):
    """JSON file of one record, written at once or not at all, and checked when it is read."""

    def __init__(
        self,
        *,
        filepath: str,
        model: str,
        absent: Mapping[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Name the file and what it holds.

        Args:
            filepath: the JSON file.
            model: dotted name of the record's class.
            absent: fields of the record that is loaded where nothing was saved; without, loading
                is an error then.
            metadata: for Kedro-Viz.
        """
        self._path = Path(filepath)
        self._model_name = model
        self._absent = absent
        self.metadata = metadata

    @property
    def model(self) -> type[FrozenModel]:
        """The record's class."""
        try:
            found: type[FrozenModel] = load_obj(self._model_name)
        except (ImportError, AttributeError, ValueError) as error:
            raise DatasetError(
                f"{self._path.name}: there is no class {self._model_name!r} ({error}); correct"
                " `model` in the catalogue entry"
            ) from error
        return found

    def load(self) -> FrozenModel:
        """Return the record; raise DatasetError when the file holds no such record."""
        if self._absent is not None and not self._path.is_file():
            return self.model.model_validate(self._absent)
        try:
            return self.model.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError) as error:
            raise DatasetError(
                f"{self._path} can't be read as {self._model_name} ({error}); run the node that"
                " makes it"
            ) from error

    def save(self, data: FrozenModel) -> None:
        """Write the record; raise DatasetError when it is of another class."""
        if not isinstance(data, self.model):
            raise DatasetError(
                f"{self._path}: a node returned a {type(data).__name__}, but the catalogue names"
                f" {self._model_name}"
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._path, data.model_dump_json(indent=1))

    def saved_at(self) -> float | None:
        """Return when the record was saved, in seconds since 1970; None where there is none."""
        return self._path.stat().st_mtime if self._path.is_file() else None

    def preview(self) -> JSONPreview:
        """Return the record as JSON, for Kedro-Viz."""
        return JSONPreview(self.load().model_dump_json())

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "model": self._model_name}
