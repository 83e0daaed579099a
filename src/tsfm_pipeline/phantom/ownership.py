"""Whose folder it is: the marker file that makes a folder the generator's own.

The generator writes nowhere else, and deletes only files that its marker lists.
"""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tsfm_pipeline.files import UNFINISHED_FILE, write_text

MARKER = ".tsfm-phantoms.json"


class PhantomFolderError(ValueError):
    """A folder that is not the generator's to write into."""


class Marker(BaseModel):
    """Content of the marker file.

    Attributes:
        digest: of the settings the files belong to.
        complete: False while files are being written.
        settings: the settings themselves, for the reader.
        files: every file below the folder -> its size in bytes, 0 before it is written.
        manifest: one row per labelled case, see `generate_phantoms`.
    """

    digest: str
    complete: bool
    settings: dict[str, Any]
    files: dict[str, int]
    manifest: list[dict[str, Any]] = []

    def write(self, root: Path) -> None:
        """Write atomically."""
        write_text(root / MARKER, self.model_dump_json(indent=1))

    def is_intact(self, root: Path, paths: Iterable[str]) -> bool:
        """Return whether exactly `paths` were written and still have their sizes."""
        return self.complete and self.files == file_sizes(root, paths)


def read_marker(root: Path) -> Marker | None:
    """Return the marker of a folder; None for a folder that is missing or empty.

    Raises:
        PhantomFolderError: the folder holds files but no readable marker, so it is not ours.
    """
    if not root.exists():
        return None
    if not root.is_dir():
        raise PhantomFolderError(f"{root} is a file; the phantom root has to be a folder.")
    path = root / MARKER
    if path.is_file():
        try:
            return Marker.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise PhantomFolderError(
                f"{path} can't be read ({error}). If the folder holds nothing but phantoms,"
                " delete it; they are made again."
            ) from error
    if any(root.iterdir()):
        raise PhantomFolderError(
            f"{root} is not empty and was not made by the phantom generator (it has no"
            f" {MARKER}). Phantoms are never written into such a folder: give an empty or new one"
            " as phantom root, or leave the `phantom` pipeline out of a run on your own data."
        )
    return None


def is_phantom(path: Path) -> bool:
    """Say whether a file or folder lies in a folder that the generator made.

    A link to it from there does not make real data phantoms.
    """
    there = path.resolve()
    return any((folder / MARKER).exists() for folder in (there, *there.parents))


def phantom_note(datasets: Collection[str], phantoms: Collection[str]) -> str:
    """Say in a sentence which datasets are phantoms; empty where none is.

    >>> phantom_note(["kits19", "btcv"], ["kits19", "btcv"])
    'Synthetic phantoms, not patients.'
    >>> phantom_note(["kits19", "btcv", "mine"], ["kits19", "btcv"])
    'Synthetic phantoms, not patients: kits19, btcv. Real data: mine.'
    """
    real = [name for name in datasets if name not in phantoms]
    if not phantoms or not real:
        return "Synthetic phantoms, not patients." if phantoms else ""
    named = ", ".join(name for name in datasets if name in phantoms)
    return f"Synthetic phantoms, not patients: {named}. Real data: {', '.join(real)}."


def clear(root: Path, marker: Marker) -> None:
    """Delete the files that a marker lists, and unfinished ones that a killed run has left.

    Raises:
        PhantomFolderError: there are files that it does not list; nothing is deleted then.
    """
    present = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(UNFINISHED_FILE)
    }
    foreign = sorted(present - set(marker.files) - {MARKER})
    if foreign:
        raise PhantomFolderError(
            f"{root} also holds files that the phantom generator did not write, such as"
            f" {foreign[0]} ({len(foreign)} in all). Move them elsewhere; phantoms are not made"
            " again until then."
        )
    for path in (*map(root.joinpath, marker.files), *root.rglob(f"{UNFINISHED_FILE}*")):
        path.unlink(missing_ok=True)
    for folder in sorted((p for p in root.rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def file_sizes(root: Path, paths: Iterable[str]) -> dict[str, int]:
    """Return the size of each written file, bytes."""
    return {path: _size(root / path) for path in paths}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
