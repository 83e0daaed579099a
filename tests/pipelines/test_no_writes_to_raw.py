"""Nothing opens a raw root for writing: the kernel is asked, so every process counts."""

import ctypes
import os
import shutil
import struct
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's inotify")

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE = 0x2, 0x4, 0x8
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
WRITES = (
    IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
)
EVENT = struct.Struct("iIII")


class WriteWatch:
    """Collects the writes below a folder: opened for writing and closed, made, moved, removed."""

    def __init__(self, root: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK)
        self._folders = {}
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
            watch = libc.inotify_add_watch(self._fd, os.fsencode(folder), WRITES)
            assert watch >= 0, os.strerror(ctypes.get_errno())
            self._folders[watch] = folder

    def writes(self) -> list[Path]:
        found = []
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return found
            while data:
                watch, _, _, length = EVENT.unpack(data[: EVENT.size])
                name = data[EVENT.size :][:length].rstrip(b"\0").decode()
                found.append(self._folders.get(watch, Path("overflow")) / name)
                data = data[EVENT.size + length :]


@pytest.mark.parametrize("how", ["w", "a", "r+"])
def test_the_watch_sees_a_file_opened_for_writing(tmp_path: Path, how: str) -> None:
    (tmp_path / "case").mkdir()
    file = tmp_path / "case" / "image.nii"
    file.write_bytes(b"x")
    watch = WriteWatch(tmp_path)
    file.open("rb").close()
    assert watch.writes() == []
    file.open(how).close()
    assert file in watch.writes()


def test_a_whole_run_opens_no_raw_root_for_writing(make_project, run_kedro, tmp_path):
    """A copy of the phantoms plays somebody's own downloads."""
    raw, phantoms = tmp_path / "downloads", make_project()
    run_kedro(phantoms, "phantom")
    shutil.copytree(phantoms / "data" / "01_raw" / "test", raw)
    watch = WriteWatch(raw)
    project = make_project()
    run_kedro(project, "pretrain", params={"raw_root": str(raw)})
    assert list((project / "data" / "06_models").rglob("best.safetensors"))
    assert watch.writes() == []
    assert not (project / "data" / "01_raw").exists()
