"""A full disk is told in a line, with a remedy; any other error keeps its traceback."""

import errno
import os

import click
import pytest
from kedro.io import DatasetError

from tsfm_pipeline.hooks import MachineFaultHook
from tsfm_pipeline.pool.split_files import SplitError


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/pool.parquet")


def test_a_full_disk_behind_whatever_error() -> None:
    try:
        raise ValueError("a data set can't be saved") from full()
    except ValueError as error:
        with pytest.raises(click.ClickException) as told:
            MachineFaultHook().on_pipeline_error(error)
    assert told.value.message.startswith("/data/pool.parquet: No space left on device; free some")


@pytest.mark.parametrize("kind", [SplitError, DatasetError])
def test_what_the_project_refuses_is_its_own_line(kind) -> None:
    with pytest.raises(click.ClickException, match="take the dataset out"):
        MachineFaultHook().on_pipeline_error(kind("1 usable patient; take the dataset out"))


def test_any_other_error_is_left_alone() -> None:
    MachineFaultHook().on_pipeline_error(ValueError("a bug"))
    MachineFaultHook().on_pipeline_error(FileNotFoundError(errno.ENOENT, "no such file", "a"))
