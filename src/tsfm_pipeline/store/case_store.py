"""The case store: one folder a case, written at once, read whole or by patches.

Array names carry their axes: C channels, then z, y, x voxels.
"""

import io
import mmap
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.files import atomic_folder, bytes_digest, remove_abandoned
from tsfm_pipeline.files.folder import LOCK
from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.imaging.labels import OUTSIDE
from tsfm_pipeline.machine import NO_ROOM, OF_WRITING, MachineError, told
from tsfm_pipeline.store.encoding import (
    CHUNK,
    decode_image,
    encode_array,
    encode_image,
    open_array,
)
from tsfm_pipeline.store.record import CaseRecord, Sidecar, StoredFile

_IMAGE, _LABELS, _SAMPLES, _RECORD = "image.b2nd", "labels.b2nd", "samples.npz", "case.json"
_FOREGROUND, _THUMBNAIL = "foreground_", "thumbnail"

Inside = tuple[slice, slice, slice]


class StoreError(ValueError):
    """A case that the store lacks, or whose files can't be read."""


class StoreWriteError(StoreError, MachineError):
    """A case that the machine can't write: no fault of its own."""


class CaseStore:
    """Prepared cases below one folder: `root/<dataset>/<case>/`.

    Holds nothing but its path, so it can be pickled, forked and shared between processes.

    What is read is what was written: the first time that a process reads a file, its digest is
    compared with the sidecar's, and again whenever its size or time of change differ.

    >>> store = CaseStore(Path("store"))  # in a project: data/03_primary/WORKSPACE/cases
    >>> store.keys()
    ['msd_liver/liver_0']
    >>> record = store.record("msd_liver/liver_0")
    >>> record.modality, record.target_voxels
    ('CT', {5: 120, 25: 7})
    >>> store.read_image(record.key).shape, store.read_labels(record.key).shape
    ((1, 70, 40, 66), (70, 40, 66))
    >>> image, labels, inside = store.read_patch(record.key, (-4, 0, 0), (16, 16, 16))
    >>> image.shape, inside[0]  # what is beyond the volume is 0, its label OUTSIDE
    ((1, 16, 16, 16), slice(4, 16, None))
    >>> bool(labels[0, 0, 0] == OUTSIDE)
    True

    Attributes:
        root: the folder. It is made by the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def write(
        self,
        record: CaseRecord,
        image_CZYX: NDArray[np.float32],
        labels_ZYX: NDArray[np.uint8],
        foreground: Mapping[int, NDArray[np.int32]],
        intensities: NDArray[np.float32],
        thumbnail: NDArray[np.float16] | None = None,
    ) -> None:
        """Write a case; readers see the old version, or none, until all of it is on disk.

        Args:
            record: its sidecar; `geometry.shape` is the shape of the arrays.
            image_CZYX: HU for CT (kept to 1/16 HU within +-4095), z-scores for MR (float16).
            labels_ZYX: target integers, 0 background, OUTSIDE outside the nonzero mask.
            foreground: target integer -> (N, 3) sampled voxels (z, y, x).
            intensities: (M, C) sampled foreground intensities before normalisation.
            thumbnail: `imaging.voxel_fingerprint`'s picture of the raw image.

        Raises:
            StoreError: the arrays' shapes are not those of the record, or the machine
                can't write it (StoreWriteError).
        """
        _check_shape(record, "image", image_CZYX.shape, (record.channels, *record.geometry.shape))
        with self._writing(record.key) as folder:
            image = _write(folder / _IMAGE, encode_array(encode_image(image_CZYX, record.modality)))
            _write_rest(folder, record, image, labels_ZYX, foreground, intensities, thumbnail)

    def write_labels(
        self,
        record: CaseRecord,
        labels_ZYX: NDArray[np.uint8],
        foreground: Mapping[int, NDArray[np.int32]],
        intensities: NDArray[np.float32],
        thumbnail: NDArray[np.float16] | None = None,
    ) -> None:
        """Write a case anew with the image it has: only labels, samples and sidecar change.

        The image is the same file in the new folder (a hard link; a copy where the file system has
        none), so readers see the old or the new version here, too. For the arguments see `write`.

        Raises:
            StoreError: the stored image is not what `record.image_identity` names, is damaged or
                is gone, the labels' shape is not that of the record, or the machine can't write it
                (StoreWriteError).
        """
        with self._writing(record.key) as folder:
            # Another run may replace the folder meanwhile: sidecar and image of one version.
            stored = os.open(self._folder(record.key), os.O_RDONLY | os.O_DIRECTORY)
            try:
                reading = os.open(_RECORD, os.O_RDONLY, dir_fd=stored)
                with os.fdopen(reading, "rb") as file:
                    sidecar = Sidecar.from_json(file.read())
                try:
                    os.link(_IMAGE, folder / _IMAGE, src_dir_fd=stored)
                except OSError:  # a file system without hard links
                    reading = os.open(_IMAGE, os.O_RDONLY, dir_fd=stored)
                    with os.fdopen(reading, "rb") as file:
                        copied = _write(folder / _IMAGE, file.read())
                    if copied != sidecar.files[_IMAGE]:
                        raise _damaged(
                            self._folder(record.key) / _IMAGE,
                            "its bytes are not those that were written",
                        ) from None
            finally:
                os.close(stored)
            if sidecar.record.image_identity != record.image_identity:
                raise StoreError(f"{record.key}: its stored image was made in another way")
            _write_rest(
                folder,
                record,
                sidecar.files[_IMAGE],
                labels_ZYX,
                foreground,
                intensities,
                thumbnail,
            )

    def keys(self) -> list[str]:
        """List the complete cases as `dataset/case`, sorted."""
        return sorted(
            f"{path.parent.parent.name}/{path.parent.name}"
            for path in self.root.glob(f"*/*/{_RECORD}")
            if not path.parent.name.startswith(".")
        )

    def intact_record(self, key: str, *, verify: bool = False) -> CaseRecord | None:
        """Return the sidecar of a case whose files are those that were written; else None.

        Args:
            key: `dataset/case`.
            verify: compare the files' content; otherwise their names and sizes only.
        """
        try:
            sidecar = self._sidecar(key)
        except StoreError:
            return None
        folder = self._folder(key)
        found = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
        found = {name: size for name, size in found.items() if name not in (_RECORD, LOCK)}
        intact = found == {name: file.size for name, file in sidecar.files.items()}
        if intact and verify:
            contents = {name: bytes_digest((folder / name).read_bytes()) for name in sidecar.files}
            intact = contents == {name: file.digest for name, file in sidecar.files.items()}
        return sidecar.record if intact else None

    def written_at(self, key: str) -> int | None:
        """Return when a case was put in its place, intact or not, in ns; None where it is not."""
        try:
            return self._folder(key).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def remove_abandoned(self) -> None:
        """Remove what killed writers left, and nothing that living ones are writing."""
        for dataset in self.root.glob("*"):
            remove_abandoned(dataset)

    def record(self, key: str) -> CaseRecord:
        """Return a case's sidecar; raise StoreError when it is absent or unreadable."""
        return self._sidecar(key).record

    def _sidecar(self, key: str) -> Sidecar:
        path = self._folder(key) / _RECORD
        try:
            sidecar = Sidecar.from_json(path.read_bytes())
        except FileNotFoundError as error:
            raise StoreError(f"{key} is not in the store {self.root}; prepare it first") from error
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} is not a readable case record of this version;"
                f" remove {path.parent} and prepare the case again"
            ) from error
        if sidecar.record.key != key:
            raise StoreError(
                f"{path} is the record of {sidecar.record.key}; remove {path.parent} and prepare"
                " the case again"
            )
        return sidecar

    @contextmanager
    def _writing(self, key: str) -> Iterator[Path]:
        """Give the folder to fill; say what to do where the machine can't write it."""
        try:
            with atomic_folder(self._folder(key)) as folder:
                yield folder
        except OSError as error:
            if error.errno not in OF_WRITING:
                raise
            raise StoreWriteError(
                told(
                    error,
                    f"{key}: no room in {self.root}"
                    if error.errno in NO_ROOM
                    else f"{key}: not written to {self.root}",
                )
            ) from error

    def foreground(self, key: str) -> dict[int, NDArray[np.int32]]:
        """Return target integer -> (N, 3) sampled voxels (z, y, x) of the stored grid."""
        with np.load(self._sound(key, _SAMPLES)) as samples:
            return {
                int(name.removeprefix(_FOREGROUND)): samples[name].astype(np.int32)
                for name in samples.files
                if name.startswith(_FOREGROUND)
            }

    def intensities(self, key: str) -> NDArray[np.float32]:
        """Return (M, C) foreground intensities before normalisation: every tenth raw voxel."""
        with np.load(self._sound(key, _SAMPLES)) as samples:
            return np.asarray(samples["intensities"])

    def thumbnail(self, key: str) -> NDArray[np.float16]:
        """Return the (z, y, x) thumbnail of the raw image.

        Raises:
            StoreError: the case is absent, or was stored without one.
        """
        with np.load(self._sound(key, _SAMPLES)) as samples:
            if _THUMBNAIL not in samples.files:
                raise StoreError(f"{key} was stored without a thumbnail; prepare it again")
            return np.asarray(samples[_THUMBNAIL])

    def read_image(self, key: str) -> NDArray[np.float32]:
        """Return the whole image (C, z, y, x): HU for CT, z-scores for MR."""
        stored = self._open(key, _IMAGE)[...]
        image_CZYX = np.empty(stored.shape, np.float32)
        decode_image(stored, out=image_CZYX)
        return image_CZYX

    def read_labels(self, key: str) -> NDArray[np.uint8]:
        """Return the whole label map (z, y, x)."""
        return np.asarray(self._open(key, _LABELS)[...])

    def read_patch(
        self,
        key: str,
        lower_zyx: Triple,
        size_zyx: Triple,
        ct_statistics: CtStatistics | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], Inside]:
        """Read a box that may reach beyond the volume.

        Args:
            key: `dataset/case`.
            lower_zyx: first voxel of the box; may be negative.
            size_zyx: voxels of the box.
            ct_statistics: CT is normalised with them; without them it stays in HU.

        Returns:
            Image (C, *size), labels (*size), and the slices (z, y, x) of the box that lie in the
            volume. Beyond it the image is 0, AFTER normalisation as in nnU-Net v1's
            DataLoader3D, and the labels are OUTSIDE.
        """
        stored = self._open(key, _IMAGE)
        source, inside = _overlap(stored.shape[-3:], lower_zyx, size_zyx)
        image_CZYX = np.zeros((stored.shape[0], *size_zyx), np.float32)
        labels_ZYX = np.full(size_zyx, OUTSIDE, np.uint8)
        if all(part.stop > part.start for part in source):
            labels = self._open(key, _LABELS)
            found_CZYX, found_ZYX = image_CZYX[(slice(None), *inside)], labels_ZYX[inside]
            for rows, slab in _slabs(source[0]):
                box = (slab, *source[1:])
                decode_image(stored[(slice(None), *box)], found_CZYX[:, rows], ct_statistics)
                found_ZYX[rows] = labels[box]
        return image_CZYX, labels_ZYX, inside

    def _folder(self, key: str) -> Path:
        dataset, _, case = key.partition("/")
        return self.root / dataset / case

    def _sound(self, key: str, name: str) -> Path:
        """Return a case's file; raise StoreError where it is gone or not as it was written."""
        path = self._folder(key) / name
        try:
            stat = path.stat()
            state = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
            if _checked.get(path) != state:
                written = self._sidecar(key).files[name]
                with path.open("rb") as file:
                    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                if (len(content), bytes_digest(content)) != (written.size, written.digest):
                    raise _damaged(path, "its bytes are not those that were written")
                _checked[path] = state
        except FileNotFoundError as error:
            raise StoreError(f"{key} is not in the store {self.root}; prepare it first") from error
        except ValueError as error:  # an empty file can't be mapped
            if isinstance(error, StoreError):
                raise
            raise _damaged(path, str(error)) from error
        return path

    def _open(self, key: str, name: str) -> blosc2.NDArray:
        path = self._sound(key, name)
        try:
            return open_array(path)
        except RuntimeError as error:
            raise _damaged(path, str(error)) from error


_checked: dict[Path, tuple[int, int, int]] = {}
"""Files whose digest this process has compared: path -> size, time of change, inode."""


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path} is damaged ({why}); a run of data_pool with --params screening.verify=true finds"
        f" all such files and prepares their cases again, or remove {path.parent}"
    )


def _overlap(shape: Triple, lower: Triple, size: Triple) -> tuple[Inside, Inside]:
    """Return the part of a box that lies in the volume, in volume and in box coordinates."""
    source, inside = [], []
    for extent, first, length in zip(shape, lower, size, strict=True):
        start = min(max(first, 0), extent)
        stop = max(start, min(first + length, extent))
        source.append(slice(start, stop))
        inside.append(slice(start - first, stop - first))
    return (source[0], source[1], source[2]), (inside[0], inside[1], inside[2])


def _slabs(span: slice) -> Iterator[tuple[slice, slice]]:
    """Cut a span of voxels where chunks begin; yield each part from the span's start and as is.

    Decoded part by part, a patch takes little memory besides its own. The allocator hands larger
    amounts back to the system at every read, and getting them again takes milliseconds.
    """
    start = span.start
    while start < span.stop:
        stop = min(span.stop, (start // CHUNK + 1) * CHUNK)
        yield slice(start - span.start, stop - span.start), slice(start, stop)
        start = stop


def _check_shape(
    record: CaseRecord, name: str, shape: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    if shape != wanted:
        raise StoreError(f"{record.key}: the {name} has shape {shape}, not {wanted} as recorded")


def _write_rest(
    folder: Path,
    record: CaseRecord,
    image: StoredFile,
    labels_ZYX: NDArray[np.uint8],
    foreground: Mapping[int, NDArray[np.int32]],
    intensities: NDArray[np.float32],
    thumbnail: NDArray[np.float16] | None,
) -> None:
    """Write all but the image, the sidecar last."""
    _check_shape(record, "label map", labels_ZYX.shape, record.geometry.shape)
    samples: dict[str, Any] = {"intensities": intensities.astype(np.float32, copy=False)}
    for target, points in foreground.items():
        samples[f"{_FOREGROUND}{target}"] = points.astype(np.uint16)
    if thumbnail is not None:
        samples[_THUMBNAIL] = thumbnail
    packed = io.BytesIO()
    np.savez(packed, **samples)
    files = {
        _IMAGE: image,
        _LABELS: _write(folder / _LABELS, encode_array(labels_ZYX.astype(np.uint8, copy=False))),
        _SAMPLES: _write(folder / _SAMPLES, packed.getvalue()),
    }
    sidecar = Sidecar(record=record, files=files)
    _write(folder / _RECORD, sidecar.to_json())


def _write(path: Path, content: bytes) -> StoredFile:
    path.write_bytes(content)
    return StoredFile(size=len(content), digest=bytes_digest(content))
