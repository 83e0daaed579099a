"""Single files, each written under a temporary name, brought to disk and renamed.

A file under its final name is therefore always whole, whatever kills the process.
"""

import glob
import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

from tsfm_pipeline.files.locking import try_lock

UNFINISHED_FILE = ".writing."
"""What the names of unfinished files start with."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, bring it to disk, and rename it.

    Several processes may write one path at once: each has a temporary file of its own, and the
    last one to be renamed stays. Where `write` raises, nothing is left behind; what a killed
    process left, the next one to write this path removes. Who may read the file is left to the
    umask, also where `write` makes private files (safetensors).

    Args:
        path: the file; its folder must exist.
        write: gets the temporary path, whose suffixes are those of `path`.

    Raises:
        OSError: the file can't be written; its `filename` is `path`.
    """
    _remove_abandoned(path)
    temporary = path.with_name(f"{UNFINISHED_FILE}{uuid.uuid4().hex}.{path.name}")
    lock = os.open(temporary, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        try_lock(lock)
        mode = stat.S_IMODE(os.fstat(lock).st_mode)
        write(temporary)
        temporary.chmod(mode)  # `write` may have made a new file of the name
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:  # of writing, the system names no file, or one that is gone now
        if error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 atomically; see `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically; see `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def _remove_abandoned(path: Path) -> None:
    for temporary in path.parent.glob(f"{UNFINISHED_FILE}*.{glob.escape(path.name)}"):
        try:
            lock = os.open(temporary, os.O_RDWR)
        except OSError:  # its writer has just renamed it
            continue
        try:
            if try_lock(lock):
                temporary.unlink(missing_ok=True)
        finally:
            os.close(lock)
