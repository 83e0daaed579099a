"""The size that headers claim, held against free memory before voxels are read.

What a file's own bytes can't hold is refused by the readers in `imaging`; DICOM files, which only
prediction reads, are looked at here.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk

from tsfm_pipeline.imaging.volume import read_geometry
from tsfm_pipeline.memory import available_memory
from tsfm_pipeline.scans.problem import NoRoom, ScanError

MOST_COMPRESSION = 1100
"""deflate cannot pack tighter than 1032 to 1."""

SHARE = 0.8
"""Part of the free memory that a volume may take."""

COPIES = 4
"""Float32 copies of a volume that are alive at once while it is prepared."""


def check_files(paths: Sequence[Path]) -> None:
    """Refuse image files, one per channel, that can't be prepared in the memory that is free.

    Raises:
        NoRoom: naming what they take and what there is.
        VolumeError: a header that `read_geometry` refuses.
    """
    shapes = [read_geometry(path).shape for path in paths]
    channels = f" in {len(paths)} channels" if len(paths) > 1 else ""
    check_memory(
        sum(map(math.prod, shapes)), f"{' x '.join(map(str, shapes[0]))} voxels (z, y, x){channels}"
    )


def check_series(paths: Sequence[Path]) -> None:
    """Refuse DICOM files that claim more than their bytes or the free memory can hold.

    Raises:
        ScanError: as said, NoRoom for memory. Headers that can't be read pass: the reader that
            comes next has better words for them.
    """
    total = 0
    for path in paths:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            return
        voxels, stored = math.prod(reader.GetSize()), path.stat().st_size
        if voxels > stored * MOST_COMPRESSION:
            raise ScanError(
                f"{path.name} claims {' x '.join(map(str, reader.GetSize()))} voxels, more than its"
                f" {stored} bytes can hold; it is truncated or damaged, export it again"
            )
        total += voxels
    check_memory(total, f"{len(paths)} files of {total} voxels")


def check_memory(voxels: float, what: str) -> None:
    """Refuse what can't be prepared in the memory that is free.

    Raises:
        NoRoom: naming what it takes and what there is.
    """
    needed = voxels * 4 * COPIES / 2**30
    free = available_memory() / 2**30
    if needed > SHARE * free:
        raise NoRoom(
            f"{what} take about {needed:.1f} GiB to prepare, and {free:.1f} GiB of memory are free;"
            " crop the scan, or take a larger machine if its size is right"
        )
