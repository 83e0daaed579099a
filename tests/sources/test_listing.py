"""Folders with entries that can't be looked into."""

import errno
import os
from pathlib import Path

import pytest

from tsfm_pipeline.sources.listing import VolumeFolder, subfolders


@pytest.fixture
def unseen(monkeypatch, request):
    """Let whatever is called b lead to what can't be looked at; root may look at anything."""
    scandir = os.scandir

    class Entry:
        def __init__(self, entry):
            self.entry, self.name = entry, entry.name

        def is_file(self):
            return self._opened().is_file()

        def is_dir(self):
            return self._opened().is_dir()

        def _opened(self):
            if self.name.startswith("b"):
                raise OSError(request.param, os.strerror(request.param), self.name)
            return self.entry

    class Listing:
        def __init__(self, folder):
            self.inner = scandir(folder)

        def __enter__(self):
            return map(Entry, self.inner)

        def __exit__(self, *_):
            self.inner.close()

    monkeypatch.setattr(os, "scandir", Listing)


@pytest.mark.parametrize("unseen", [errno.EACCES, errno.EIO, errno.ESTALE], indirect=True)
@pytest.mark.usefixtures("unseen")
def test_one_closed_entry_hides_no_other(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.nii.gz").touch()
        (tmp_path / name).mkdir()
    assert VolumeFolder(tmp_path).names() == ["a", "b", "c"]
    assert [path.name for path in subfolders(tmp_path, "[abc]")] == ["a", "b", "c"]


def test_a_link_in_a_circle_is_no_volume(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").touch()
    (tmp_path / "b.nii.gz").symlink_to("b.nii.gz")
    (tmp_path / "c.nii.gz").touch()
    assert VolumeFolder(tmp_path).names() == ["a", "c"]
    (tmp_path / "d").symlink_to("d")
    assert subfolders(tmp_path, "d") == []
