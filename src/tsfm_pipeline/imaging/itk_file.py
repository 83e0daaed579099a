"""NRRD and MetaImage files, through SimpleITK.

Its other formats are not taken: SimpleITK fills truncated Analyze, GIPL and VTK files with zeros
and shortens truncated TIFF files.
"""

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from tsfm_pipeline.files.digest import file_digest
from tsfm_pipeline.imaging.file_volume import (
    FileVolume,
    VolumeError,
    check_shape,
    grid_of,
    smallest_plane,
    surplus_note,
)
from tsfm_pipeline.imaging.geometry import Geometry
from tsfm_pipeline.imaging.itk_header import StoredVoxels, check_header, stored_bytes

SUFFIXES = (".nrrd", ".mha", ".mhd")


def read_itk(path: Path) -> FileVolume:
    """Read a whole file.

    Raises:
        VolumeError: of another format, damaged, truncated, no scalar 3-D image, or with a grid
            that can't be used.
    """
    reader, voxels = _open(path)
    geometry, repairs = _grid(path, reader)
    if voxels is not None:
        repairs += _surplus(path, reader, voxels)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path, error) from _cause(path, error)
    return FileVolume(sitk.GetArrayFromImage(image).reshape(geometry.shape), geometry, repairs)


def itk_geometry(path: Path) -> Geometry:
    """Read a file's grid from its header; raise VolumeError as `read_itk` does."""
    return _grid(path, _open(path)[0])[0]


def _surplus(path: Path, reader: sitk.ImageFileReader, voxels: StoredVoxels) -> tuple[str, ...]:
    size = check_shape(path, reader.GetSize())
    width = sitk.Image(1, 1, reader.GetPixelID()).GetSizeOfPixelComponent()
    claimed = math.prod(size) * width
    enough = claimed + smallest_plane(size) * width
    return surplus_note(path, stored_bytes(path, voxels, enough) - claimed, size, width)


def _open(path: Path) -> tuple[sitk.ImageFileReader, StoredVoxels | None]:
    if not path.name.lower().endswith(SUFFIXES):
        raise VolumeError(
            f"{path}: not a format that is read; convert it to NIfTI (.nii.gz; .nii, .nrrd, .mha"
            " and .mhd are read, too)"
        )
    packed = check_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from _cause(path, error)
    return reader, packed


def _grid(path: Path, reader: sitk.ImageFileReader) -> tuple[Geometry, tuple[str, ...]]:
    if reader.GetNumberOfComponents() != 1:
        raise VolumeError(
            f"{path}: {reader.GetNumberOfComponents()} values per voxel (a colour or vector"
            " image); give one file per channel with one value per voxel"
        )
    axes = reader.GetDimension()
    size = check_shape(path, reader.GetSize())
    spacing = np.asarray(reader.GetSpacing()[:3])
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(reader.GetDirection(), (axes, axes))[:3, :3] * spacing
    affine[:3, 3] = reader.GetOrigin()[:3]
    return grid_of(path, size, affine, spacing.tolist())


def _unreadable(path: Path, error: RuntimeError) -> VolumeError:
    # MetaImage reports a short file as "Reason: No such file or directory".
    reason = str(error).strip().splitlines()[-1].split(" Reason:")[0]
    return VolumeError(
        f"{path}: unreadable, truncated, damaged or not a medical image file"
        f" ({path.stat().st_size} bytes; {reason}); download or export it again"
    )


def _cause(path: Path, error: RuntimeError) -> Exception:
    """Return the system's error where the file can't be read, which ITK keeps to itself.

    Raises:
        MemoryError: there was not enough of it; that says nothing about the file.
    """
    if "allocate memory" in str(error):
        raise MemoryError(f"{path}: {error}") from error
    try:
        file_digest(path)
    except OSError as fault:
        return fault
    return error
