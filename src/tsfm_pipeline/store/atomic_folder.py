"""Folders that appear complete or not at all, whatever kills the process that writes them."""

import fcntl
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = "lock"
_UNFINISHED = ".unfinished"
_REPLACED = ".replaced"


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill; on leaving it becomes `target`, on an exception it vanishes.

    The folder is a hidden sibling that holds a lock while its writer lives. Files are flushed to
    disk before the rename; an older `target` is replaced. What killed writers of the same target
    left behind is removed first; what living ones are still writing is not.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    folder = _hidden_sibling(target, _UNFINISHED)
    folder.mkdir()
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR)
    try:
        _try_lock(lock)
        yield folder
        for path in folder.iterdir():
            _flush(path)
        _flush(folder)
        _replace(target, folder)
        (target / _LOCK).unlink(missing_ok=True)
        _flush(target.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def _replace(target: Path, folder: Path) -> None:
    while True:
        # A folder can't be renamed onto a filled one, so the old version steps aside first.
        with suppress(FileNotFoundError):
            aside = target.rename(_hidden_sibling(target, _REPLACED))
            shutil.rmtree(aside, ignore_errors=True)
        try:
            folder.rename(target)
            return
        except OSError:
            if not target.exists():
                raise
            # Another run put its version there in between. Ours is the later: once more.


def _hidden_sibling(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}{suffix}")


def _remove_abandoned(target: Path) -> None:
    own = f".{glob.escape(target.name)}.*"
    for folder in target.parent.glob(own + _REPLACED):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in target.parent.glob(own + _UNFINISHED):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            if _try_lock(lock):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _try_lock(lock: int) -> bool:
    """Take a lock that the system releases when the process ends; False where it is held."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks: then nothing counts as abandoned
        return False
    return True


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
