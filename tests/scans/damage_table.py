"""Write the table of damaged files into docs/bad_input.md: `python -m tests.scans.damage_table`."""

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tests.generated import write_part
from tests.scans.both_ways import Verdicts, all_verdicts
from tests.scans.conftest import write_model
from tests.scans.damage import COUNT
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.reporting.markdown import markdown_table

PAGE = Path(__file__).parents[2] / "docs" / "bad_input.md"
NO_LABEL = "no labelled voxel"
"""Is said of every sound case here."""
BEGIN = "<!-- begin: made by `python -m tests.scans.damage_table` -->"


def _reason(said: Verdicts) -> str:
    """Return why the pool refuses a file, or what it repaired, in few words."""
    text = (said.pool or said.mended[0].removesuffix(NO_LABEL)).strip("; ")
    text = re.sub(r"\S*/scan\S*: ", "", text)
    text = text.rpartition("; ")[0] or text  # without the remedy
    return (text if len(text) <= 100 else f"{text[:100]} ...").replace("|", "\\|")


def table(verdicts: Mapping[str, Verdicts]) -> str:
    """Return a line per kind of damage: formats, what is said, how many are refused and read."""
    rows = pd.DataFrame(
        {
            "damage": name.split("/")[0][4:].replace("_", " "),
            "format": "".join(Path(name).suffixes),
            "refused": bool(said.pool) and bool(said.predict),
            "read": not said.pool and not said.predict,
            "said": _reason(said),
            "seconds": said.seconds,
        }
        for name, said in verdicts.items()
    )
    lines = [
        [
            str(damage),
            ", ".join(sorted(set(group["format"]))),
            next(filter(None, group["said"]), ""),
            *(str(int(group[column].sum())) for column in ("refused", "read")),
        ]
        for damage, group in rows.groupby("damage", sort=False)
    ]
    differing = len(rows) - int(rows["refused"].sum() + rows["read"].sum())
    peak = max(said.kilobytes for said in verdicts.values()) / 1e6
    header = ["damage", "formats", "the first reason or note", "refused by both", "read by both"]
    return (
        f"{len(rows)} files: {rows['refused'].sum()} refused and {rows['read'].sum()} read by both"
        f" ways in, {differing} by one alone; the slowest took {rows['seconds'].max():.1f} s of"
        f" computing, and one process that read all of them, libraries included, {peak:.1f} GB.\n\n"
        + markdown_table(header, lines, text_columns=3)
    )


def main() -> int:
    """Put the table between its marks in the page."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        write_model(model)
        made = table(all_verdicts(Path(folder) / "damaged", COUNT, ModelFolder(model).card))
    write_part(PAGE, BEGIN, made)
    sys.stdout.write(made.splitlines()[0] + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
