import errno
import fcntl
import os
from pathlib import Path

import pytest

from tsfm_pipeline.files import UNFINISHED_FILE, write_atomically, write_bytes, write_text


def test_what_is_written_replaces_the_file_at_once(tmp_path):
    path = tmp_path / "report.md"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("new")
        assert path.read_text() == "old"

    write_atomically(path, write)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.md"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("ha")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_killed_writers_are_removed_and_those_of_living_ones_kept(tmp_path):
    killed = tmp_path / f"{UNFINISHED_FILE}1.a.json"
    living = tmp_path / f"{UNFINISHED_FILE}2.a.json"
    other = tmp_path / f"{UNFINISHED_FILE}3.b.json"
    for path in (killed, living, other):
        path.touch()
    with living.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_text(tmp_path / "a.json", "{}")
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.json", living, other])


def test_a_writer_may_replace_its_temporary_file(tmp_path):
    def write(temporary: Path) -> None:
        temporary.unlink()
        temporary.write_bytes(b"anew")

    write_atomically(tmp_path / "a", write)
    assert (tmp_path / "a").read_bytes() == b"anew"


def test_files_have_the_mode_that_the_user_asks_for(tmp_path):
    def write(temporary: Path) -> None:  # a private file in its place, as safetensors does
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT, 0o600))

    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"x")
        write_atomically(tmp_path / "b", write)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o640, 0o640]


def test_an_error_of_the_system_names_the_file(tmp_path):
    def full(temporary):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def denied(temporary):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(temporary))

    def source(temporary):
        (tmp_path / "source").read_bytes()

    for write, named in ((full, "a"), (denied, "a"), (source, "source")):
        with pytest.raises(OSError, match=r"\w") as raised:
            write_atomically(tmp_path / "a", write)
        assert raised.value.filename == str(tmp_path / named)
