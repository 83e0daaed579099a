"""NRRD and MetaImage files, through SimpleITK.

Its other formats are not taken: SimpleITK fills truncated Analyze, GIPL and VTK files with zeros
and shortens truncated TIFF files.
"""

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from tsfm_pipeline.imaging.file_volume import (
    FileVolume,
    VolumeError,
    check_shape,
    grid_of,
    read_bytes,
    smallest_plane,
    surplus_note,
    volume_files,
)
from tsfm_pipeline.imaging.geometry import Geometry
from tsfm_pipeline.imaging.itk_header import StoredVoxels, check_header, stored_bytes

SUFFIXES = (".nrrd", ".mha", ".mhd")


def read_itk(path: Path) -> FileVolume:
    """Read a whole file.

    Raises:
        VolumeError: of another format, damaged, truncated, no scalar 3-D image, or with a grid
            that can't be used.
        MemoryError: not enough of it, which says nothing about the file.
    """
    reader, voxels = _open(path)
    geometry, repairs = _grid(path, reader)
    if voxels is not None:
        repairs += _surplus(path, reader, voxels)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        # Where the bytes were not counted, the header may claim more than any machine has.
        if voxels is not None and "allocate memory" in str(error):
            raise MemoryError(f"{path}: {_reason(error)}") from error
        raise _unreadable(path, error) from error
    return FileVolume(sitk.GetArrayFromImage(image).reshape(geometry.shape), geometry, repairs)


def itk_geometry(path: Path) -> Geometry:
    """Read a file's grid from its header; raise VolumeError as `read_itk` does."""
    return _grid(path, _open(path)[0])[0]


def _surplus(path: Path, reader: sitk.ImageFileReader, voxels: StoredVoxels) -> tuple[str, ...]:
    size = check_shape(path, reader.GetSize())
    width = sitk.Image(1, 1, reader.GetPixelID()).GetSizeOfPixelComponent()
    claimed = math.prod(size) * width
    stored = stored_bytes(path, voxels, claimed + smallest_plane(size) * width)
    if stored < claimed:
        raise VolumeError(
            f"{path}: its header claims {size} voxels (x, y, z), {claimed} bytes, but only {stored}"
            " follow it; it is truncated or damaged, download or export it again"
        )
    return surplus_note(path, stored - claimed, size, width)


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
        raise _unreadable(path, error) from error
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
    """Say that ITK can't read a file; raise what the system says, which ITK keeps to itself."""
    size = sum(len(read_bytes(file)) for file in volume_files(path))
    return VolumeError(
        f"{path}: unreadable, truncated, damaged or not a medical image file"
        f" ({size} bytes; {_reason(error)}); download or export it again"
    )


def _reason(error: RuntimeError) -> str:
    # MetaImage reports a short file as "Reason: No such file or directory".
    return str(error).strip().splitlines()[-1].split(" Reason:")[0]
