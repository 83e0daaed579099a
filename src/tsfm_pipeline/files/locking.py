"""Locks that tell what a living process is writing from what a killed one left behind."""

import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)


def try_lock(lock: int) -> bool:
    """Take a lock that the system releases when the process ends; False where it is held."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks: then nothing counts as abandoned
        return False
    return True


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock file, made where it is absent, once no other process holds it.

    Its content names the owner. Whoever has to wait says for whom, and since when that one has it.
    The system releases the lock when its owner ends, however it ends. A file system without locks
    lets everybody in.

    Raises:
        OSError: the file can't be made or written.
    """
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        _wait(lock, path)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        os.utime(lock)
        yield
    finally:
        os.close(lock)


def _wait(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 200, 0).decode(errors="replace") or "a process that just started"
        minutes = max(0.0, time.time() - os.fstat(lock).st_mtime) / 60
        logger.warning("Waiting for %s, which has held %s for %.1f min", owner, path, minutes)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        return
