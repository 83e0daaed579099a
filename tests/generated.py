"""Parts of the documentation's pages that a command writes between two marks."""

from pathlib import Path

END = "<!-- end -->"


def write_part(page: Path, begin: str, text: str) -> None:
    """Put a text between a page's mark `begin` and the end mark that follows it."""
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}\n{text.rstrip()}\n{END}{rest.partition(END)[2]}")
