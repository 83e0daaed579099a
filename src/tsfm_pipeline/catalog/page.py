"""A text for people (HTML, Markdown, LaTeX, SVG) as an entry that Kedro-Viz can show."""

import html
from typing import Any

from kedro_datasets._typing import HTMLPreview
from kedro_datasets.text import TextDataset


class PageDataset(TextDataset):  # type: ignore[misc]  # untyped
    """Kedro's text file in UTF-8, versioned where the entry says so, with a preview."""

    def __init__(self, **given: Any) -> None:
        utf8 = {"encoding": "utf-8"}  # whatever the machine's own is
        arguments = {"open_args_load": utf8, "open_args_save": utf8}
        super().__init__(fs_args=arguments, **given)

    def preview(self) -> HTMLPreview:
        """Return an HTML page or a drawing as it is, and any other text as it was typed."""
        text = self.load()
        if self._filepath.suffix in (".html", ".svg"):
            return HTMLPreview(text)
        return HTMLPreview(f"<pre>{html.escape(text)}</pre>")
