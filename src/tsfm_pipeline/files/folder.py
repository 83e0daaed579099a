"""Folders that appear complete or not at all, whatever kills the process that writes them."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tsfm_pipeline.files.locking import try_lock

LOCK = "lock"
_UNFINISHED = ".unfinished"
_REPLACED = ".replaced"


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill; on leaving it becomes `target`, on an exception it vanishes.

    The folder is a hidden sibling that holds a lock while its writer lives. Files are flushed to
    disk before the rename; an older `target` is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = _hidden_sibling(target, _UNFINISHED)
    folder.mkdir()
    lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR)
    try:
        try_lock(lock)
        yield folder
        for path in folder.iterdir():
            _flush(path)
        _flush(folder)
        _replace(target, folder)
        (target / LOCK).unlink(missing_ok=True)
        _flush(target.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Remove what killed writers left in a folder, and nothing that living ones are writing.

    Where a writer was killed while it replaced a folder, the old version is put back.
    """
    for folder in parent.glob(f".*{_REPLACED}"):
        target = folder.with_name(folder.name[1:].rsplit(".", 2)[0])
        with suppress(OSError):  # there is a newer version, or its writer went on just now
            folder.rename(target)
            continue
        shutil.rmtree(folder, ignore_errors=True)
    for lock_file in parent.glob(f"[!.]*/{LOCK}"):  # of a folder that is in its place
        lock_file.unlink(missing_ok=True)
    for folder in parent.glob(f".*{_UNFINISHED}"):
        try:
            lock = os.open(folder / LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            if try_lock(lock):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _replace(target: Path, folder: Path) -> None:
    aside: list[Path] = []
    while True:
        # A folder can't be renamed onto a filled one, so the old version steps aside first.
        with suppress(FileNotFoundError):
            aside.append(target.rename(_hidden_sibling(target, _REPLACED)))
        try:
            folder.rename(target)
            break
        except OSError:
            if not target.exists():
                raise
            # Another run put its version there in between. Ours is the later: once more.
    for old in aside:
        shutil.rmtree(old, ignore_errors=True)


def _hidden_sibling(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}{suffix}")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
