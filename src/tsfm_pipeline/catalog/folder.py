"""A folder that a node reads or fills itself."""

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import JSONPreview

SHOWN = 50
"""So many entries of a folder are previewed."""


class FolderDataset(AbstractDataset[Path, Path]):
    """Give nodes the absolute path of a folder; its content is the node's own affair.

    Saving writes nothing: it only checks that the node filled the folder the catalogue names.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Name the folder; Kedro makes a relative path start at the project."""
        self._path = Path(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        """Return the absolute path; the folder need not exist yet."""
        return self._path.absolute()

    def save(self, data: Path) -> None:
        """Check that the node's folder is this one."""
        if Path(data).absolute() != self._path.absolute():
            raise DatasetError(f"a node filled {data}, but the catalogue names {self._path}")

    def preview(self) -> JSONPreview:
        """Return what the folder is, and the names in it, for Kedro-Viz."""
        names = sorted(path.name for path in self._path.iterdir()) if self._exists() else []
        what = (self.metadata or {}).get("kedro-viz", {}).get("description", "")
        content = {"what": what, "entries": len(names), "first": names[:SHOWN]}
        return JSONPreview(json.dumps(content))

    def _exists(self) -> bool:
        return self._path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
