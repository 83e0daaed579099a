"""Faults of the machine: a full disk, no memory. They say nothing about the case at hand."""

import errno
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or have the quota raised",
    errno.EFBIG: "free some space there, or raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "give a folder that can be written",
    errno.ENOMEM: "use a machine with more memory, or set workers.memory_gb lower",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs, the system can open no more files",
    errno.ENOTCONN: "mount that folder again",
    errno.ESTALE: "mount that folder again",
    errno.ETIMEDOUT: "wait until the server of that folder answers",
}
"""What these say is of the machine, whichever file is at hand."""

OF_WRITING = {
    **REMEDIES,
    errno.EIO: "check the disk or the mount",
    errno.EACCES: "give yourself the permission to write there",
    errno.EPERM: "give yourself the permission to write there",
}
"""The rest count where something of ours is written; of a raw file they are its own fault."""


AGAIN = "and run again, the same command goes on from what is finished"

DEAD_GPU = "AcceleratorError"
"""torch's, after which a process gets nothing from the GPU any more; torch is slow to import."""


class MachineError(RuntimeError):
    """A fault of the machine, told in one line: where, what happened, what helps."""


def told(error: OSError, where: Path | str) -> str:
    """Return the line about an error of OF_WRITING."""
    remedy = OF_WRITING.get(error.errno or 0, "check the machine")
    return f"{where}: {error.strerror or error}; {remedy} {AGAIN}"


def fault_of_machine(error: BaseException | None) -> str | None:
    """Return the line about a fault of the machine that an error is or was caused by; else None."""
    while error is not None:
        if isinstance(error, MachineError):
            return str(error)
        if isinstance(error, OSError) and error.errno in REMEDIES:
            return told(error, error.filename or "this machine")
        if type(error).__name__ == DEAD_GPU:
            return (
                f"the GPU failed ({str(error).splitlines()[0]}); look at it with nvidia-smi {AGAIN}"
            )
        error = error.__cause__
    return None
