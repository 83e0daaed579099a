"""Child processes that do not outlive their parent."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Have the system kill this process when the one that started it ends, by SIGKILL even.

    Linux only; elsewhere nothing changes. Strictly it is the thread that started this process whose
    end counts, so start workers from one that stays.

    Args:
        parent: number of the process that shall be the parent; where it is gone already, this
            process ends at once.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
