"""The project's own MLflow database: made whole or not at all, by one process at a time.

MLflow makes its tables in dozens of steps that a kill cuts short for good, and two processes at
once take each other's steps. It keeps absolute paths, so they are corrected where the project was
copied or moved.
"""

import logging
import sqlite3
import time
from itertools import product
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from tsfm_pipeline.files.locking import waiting_lock
from tsfm_pipeline.tracking.problem import TrackingError, in_a_line

logger = logging.getLogger(__name__)

OF_THE_MACHINE = ("locked", "I/O error", "is full", "readonly", "unable to open", "permission")
"""What sqlite says where the file itself may be sound."""
OUT_OF_DATE = "out-of-date database schema"

KEEPS_PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
)
"""Tables and columns of MLflow in which absolute paths of artifacts stand."""
KEEPS_FOLDERS = (("model_versions", "source"), ("model_versions", "storage_location"))
"""And those of model folders."""


def ready_database(path: Path, artifacts: Path) -> None:
    """Make an MLflow database where there is none; set a damaged one aside and make a new one.

    Args:
        path: the sqlite file; its folder exists.
        artifacts: folder of the files of its runs.

    Raises:
        TrackingError: it can't be opened, and not because it is damaged.
    """
    try:
        with waiting_lock(path.with_name(f"{path.name}.lock")):
            if path.exists() and (damage := _damage(path, artifacts)):
                _set_aside(path, damage)
            if not path.exists():
                _make(path, artifacts)
            _follow(path, artifacts)
    except (OSError, sqlite3.Error, SQLAlchemyError, MlflowException) as error:
        raise TrackingError(_line(path, error)) from error


def _make(path: Path, artifacts: Path) -> None:
    new = path.with_name(f"{path.name}.new")
    for leftover in (new, new.with_name(f"{new.name}-journal")):
        leftover.unlink(missing_ok=True)
    _open(new, artifacts)
    new.rename(path)


def _open(path: Path, artifacts: Path) -> None:
    """Open a database as MLflow does, which makes or migrates its tables."""
    uri = f"sqlite:///{path}"
    try:
        SqlAlchemyStore(uri, str(artifacts))
    finally:
        SqlAlchemyStore._get_or_create_engine(uri).dispose()  # else it stays open under this name


def _follow(path: Path, artifacts: Path) -> None:
    """Let the paths of a database lead below the project, where they led below its old place.

    The old place stands in experiment 0, which MLflow makes with the database. Paths elsewhere
    stay as they are.
    """
    connection = sqlite3.connect(path, timeout=20)
    try:
        location = "SELECT artifact_location FROM experiments WHERE experiment_id = 0"
        found = connection.execute(location).fetchone()
        old = Path(found[0]).parent if found else artifacts
        if old == artifacts or old.name != artifacts.name or not old.is_absolute():
            return
        with connection:  # one transaction
            for columns, place, new in (
                (KEEPS_PATHS, old, artifacts),
                (KEEPS_FOLDERS, old.parent, artifacts.parent),
            ):
                for (table, column), (before, after) in product(
                    columns, ((str(place), str(new)), (place.as_uri(), new.as_uri()))
                ):
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                        f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (after, len(before) + 1, before, len(before) + 1, f"{before}/"),
                    )
    finally:
        connection.close()
    logger.info("The project was at %s; files of its runs are now at %s", old.parent, artifacts)


def _damage(path: Path, artifacts: Path) -> str | None:
    """Say why a database will never open; None where it does."""
    try:
        # MLflow would try for minutes to open what is no database
        connection = sqlite3.connect(path, timeout=20)
        try:
            connection.execute("SELECT name FROM sqlite_master").fetchall()
        finally:
            connection.close()
        _open(path, artifacts)
    except (sqlite3.DatabaseError, SQLAlchemyError, MlflowException) as error:
        text = in_a_line(error)
        if OUT_OF_DATE in text or any(words in text for words in OF_THE_MACHINE):
            raise TrackingError(_line(path, error)) from error
        return text
    return None


def _line(path: Path, error: Exception) -> str:
    if OUT_OF_DATE in str(error):
        return (
            f"{path} is of another version of MLflow; keep a copy of it, then run"
            f" `mlflow db upgrade sqlite:///{path}`, or install the version that wrote it"
        )
    return (
        f"{path}, where runs are tracked, can't be used ({in_a_line(error)}); make room or correct"
        " its permissions, or name another place as MLFLOW_TRACKING_URI; the same command goes on"
    )


def _set_aside(path: Path, damage: str) -> None:
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    journal = path.with_name(f"{path.name}-journal")
    if journal.exists():
        journal.rename(aside.with_name(f"{aside.name}-journal"))
    path.rename(aside)
    logger.warning(
        "%s can't be opened (%s), as where its making was cut short; it is now %s, and a new one is"
        " made: what is in the old one is not in its tables",
        path,
        damage,
        aside,
    )
