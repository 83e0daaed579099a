"""The case store as a catalogue entry, with a labelled slice as its preview."""

import base64
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview

from tsfm_pipeline.store.case_store import CaseStore


class CaseStoreDataset(AbstractDataset[CaseStore, CaseStore]):
    """Open the case store below a folder. Saving writes nothing: cases write themselves."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Name the folder; Kedro makes a relative path start at the project."""
        self._path = Path(filepath)
        self.metadata = metadata

    def load(self) -> CaseStore:
        """Open the store; it may be empty."""
        return CaseStore(self._path.absolute())

    def save(self, data: CaseStore) -> None:
        """Check that the node filled this store."""
        if data.root != self._path.absolute():
            raise DatasetError(f"a node filled {data.root}, but the catalogue names {self._path}")

    def _exists(self) -> bool:
        return self._path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}

    def preview(self) -> ImagePreview:
        """Return the first case's slice of most labels with their contours, as base64 PNG."""
        from tsfm_pipeline.imaging.preview import slice_preview  # noqa: PLC0415 (matplotlib)

        store = self.load()
        key = store.keys()[0]
        spacing = store.record(key).geometry.spacing
        png = slice_preview(store.read_image(key)[0], store.read_labels(key), spacing)
        return ImagePreview(base64.b64encode(png).decode())
