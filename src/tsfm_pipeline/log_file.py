"""The log file of conf/logging.yml, which a full disk must not make noisy."""

import logging
import sys
from pathlib import Path


def tell_once(handler: logging.FileHandler) -> None:
    """Let a log file that can't be written say so in one line on the terminal.

    Python itself prints a traceback for every record. (Kedro takes no handler classes of a
    project's own from conf/logging.yml.)
    """
    pythons_way, told = handler.handleError, False

    def handle_error(record: logging.LogRecord) -> None:
        nonlocal told
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            pythons_way(record)
        elif not told:
            told = True
            name = Path(handler.baseFilename).name
            sys.stderr.write(f"WARNING {name} can't be written: {error}; it lacks what follows\n")

    handler.handleError = handle_error  # type: ignore[method-assign]
