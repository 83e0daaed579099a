"""A page for people, HTML or Markdown, as a catalogue entry that Kedro-Viz can show."""

import html

from kedro_datasets._typing import HTMLPreview
from kedro_datasets.text import TextDataset


class PageDataset(TextDataset):  # type: ignore[misc]  # untyped
    """Kedro's text file, versioned where the entry says so, with a preview."""

    def preview(self) -> HTMLPreview:
        """Return an HTML page as it is, and any other text as it was typed."""
        text = self.load()
        if self._filepath.suffix == ".html":
            return HTMLPreview(text)
        return HTMLPreview(f"<pre>{html.escape(text)}</pre>")
