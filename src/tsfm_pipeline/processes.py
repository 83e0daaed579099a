"""Child processes that do not outlive their parent, and signals that come at a bad moment."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

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


@contextmanager
def signals_noted() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of ending; elsewhere than in the main thread, neither."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    ours = [  # what was not set from Python can't be set back
        number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not None
    ]
    previous = {number: signal.signal(number, note) for number in ours}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_by(number: int) -> NoReturn:
    """End as a signal asks for that was noted, or that another process was sent.

    Raises:
        KeyboardInterrupt: for SIGINT.
        SystemExit: for others, with 128 and the signal's number, as shells count.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt from None
    raise SystemExit(128 + number) from None


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let SIGINT and SIGTERM act only afterwards: for the moment in which a process is started.

    One that does not get its instructions any more would print a traceback.
    """
    with signals_noted() as received:
        yield
    for number in received:
        signal.raise_signal(number)
