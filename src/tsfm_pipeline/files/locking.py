"""Locks that tell what a living process is writing from what a killed one left behind."""

import fcntl


def try_lock(lock: int) -> bool:
    """Take a lock that the system releases when the process ends; False where it is held."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks: then nothing counts as abandoned
        return False
    return True
