"""A figure of the report: one entry, three files."""

from base64 import b64encode
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from kedro.io import AbstractVersionedDataset
from kedro_datasets._typing import ImagePreview

from tsfm_pipeline.files import write_bytes, write_text
from tsfm_pipeline.files.spreadsheet import as_before, csv_text
from tsfm_pipeline.reporting.figures.drawing import Drawing, SavedDrawing

NAMES = dict.fromkeys(("dataset", "case", "patient", "target", "targets"), str)
"""Columns of names: 001 is one, and so is NA."""


class DrawingDataset(AbstractVersionedDataset[Drawing, SavedDrawing]):
    """A PNG that Kedro-Viz previews; beside it the same as SVG, and as CSV what it shows."""

    def __init__(
        self,
        *,
        filepath: str,
        pixels_per_inch: int = 150,
        version: Any = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Name the PNG.

        Args:
            filepath: ends with .png.
            pixels_per_inch: of the PNG.
            version: Kedro's, where the entry is versioned.
            metadata: for Kedro-Viz.
        """
        super().__init__(PurePosixPath(filepath), version)
        self._pixels_per_inch = pixels_per_inch
        self.metadata = metadata

    def load(self) -> SavedDrawing:
        """Return the SVG and the table."""
        png = Path(self._get_load_path())
        table = png.with_suffix(".csv")
        data = pd.read_csv(table, dtype=NAMES, keep_default_na=False, na_values=[""])
        return SavedDrawing(png.with_suffix(".svg").read_text("utf-8"), as_before(data))

    def save(self, data: Drawing) -> None:
        """Write the three files, the PNG last."""
        from tsfm_pipeline.pool.figures import as_svg

        png = Path(self._get_save_path())
        png.parent.mkdir(parents=True, exist_ok=True)
        write_text(png.with_suffix(".svg"), as_svg(data.figure) if data.on_page else "")
        write_text(png.with_suffix(".csv"), csv_text(data.data))
        buffer = BytesIO()
        data.figure.savefig(buffer, format="png", dpi=self._pixels_per_inch)
        write_bytes(png, buffer.getvalue())

    def preview(self) -> ImagePreview:
        """Return the PNG, for Kedro-Viz."""
        return ImagePreview(b64encode(Path(self._get_load_path()).read_bytes()).decode())

    def _exists(self) -> bool:
        return Path(self._get_load_path()).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}
