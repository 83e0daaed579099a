"""What tracking raises, and how the trouble of MLflow is told in one line."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

AUTOFLUSH = "(raised as a result of Query-invoked autoflush"
"""SQLAlchemy's advice to programmers, which it prints before the error."""

logger = logging.getLogger(__name__)


class TrackingError(RuntimeError):
    """Runs can't be tracked where the settings say."""


def in_a_line(error: BaseException) -> str:
    """Return the first line that says something, of what SQLAlchemy and urllib3 make long."""
    lines = [line for line in str(error).splitlines() if not line.startswith(AUTOFLUSH)]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."


@contextmanager
def never_fatal(what: str) -> Iterator[None]:
    """Turn any error inside into one warning: tracking may be lost, the work may not."""
    try:
        yield
    except Exception as error:
        logger.warning("Not tracked in MLflow: %s (%s); the run goes on", what, in_a_line(error))
