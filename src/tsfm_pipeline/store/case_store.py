"""The case store: one folder a case, written at once, read whole or by patches.

Array names carry their axes: C channels, then z, y, x voxels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.imaging.labels import OUTSIDE
from tsfm_pipeline.store.atomic_folder import atomic_folder
from tsfm_pipeline.store.encoding import decode_image, encode_image, open_array, write_array
from tsfm_pipeline.store.record import CaseRecord

_IMAGE, _LABELS, _SAMPLES, _RECORD = "image.b2nd", "labels.b2nd", "samples.npz", "case.json"
_FOREGROUND, _THUMBNAIL = "foreground_", "thumbnail"

Inside = tuple[slice, slice, slice]


class StoreError(ValueError):
    """A case that the store lacks, or whose files can't be read."""


class CaseStore:
    """Prepared cases below one folder: `root/<dataset>/<case>/`.

    Holds nothing but its path, so it can be pickled, forked and shared between processes.

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
            StoreError: the arrays' shapes are not those of the record.
        """
        shape = record.geometry.shape
        if image_CZYX.shape != (record.channels, *shape) or labels_ZYX.shape != shape:
            raise StoreError(
                f"{record.key}: image {image_CZYX.shape} and labels {labels_ZYX.shape} are not"
                f" {record.channels} channel(s) and one label map of {shape} as recorded"
            )
        with atomic_folder(self._folder(record.key)) as folder:
            write_array(folder / _IMAGE, encode_image(image_CZYX, record.modality))
            write_array(folder / _LABELS, labels_ZYX.astype(np.uint8, copy=False))
            samples: dict[str, Any] = {"intensities": intensities.astype(np.float32, copy=False)}
            for target, points in foreground.items():
                samples[f"{_FOREGROUND}{target}"] = points.astype(np.uint16)
            if thumbnail is not None:
                samples[_THUMBNAIL] = thumbnail
            np.savez(folder / _SAMPLES, **samples)
            (folder / _RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")

    def keys(self) -> list[str]:
        """List the complete cases as `dataset/case`, sorted."""
        return sorted(
            f"{path.parent.parent.name}/{path.parent.name}"
            for path in self.root.glob(f"*/*/{_RECORD}")
            if not path.parent.name.startswith(".")
        )

    def has(self, key: str, *, raw_digest: str, preparation_digest: str) -> bool:
        """Tell whether the case is stored as made from these files in this way."""
        try:
            record = self.record(key)
        except StoreError:
            return False
        return (record.raw_digest, record.preparation_digest) == (raw_digest, preparation_digest)

    def record(self, key: str) -> CaseRecord:
        """Return a case's sidecar; raise StoreError when it is absent or unreadable."""
        path = self._folder(key) / _RECORD
        try:
            return CaseRecord.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise StoreError(f"{key} is not in the store {self.root}; prepare it first") from error
        except (OSError, ValidationError) as error:
            raise StoreError(
                f"{path} is not a readable case record of this version;"
                f" remove {path.parent} and prepare the case again"
            ) from error

    def foreground(self, key: str) -> dict[int, NDArray[np.int32]]:
        """Return target integer -> (N, 3) sampled voxels (z, y, x) of the stored grid."""
        with np.load(self._existing(key, _SAMPLES)) as samples:
            return {
                int(name.removeprefix(_FOREGROUND)): samples[name].astype(np.int32)
                for name in samples.files
                if name.startswith(_FOREGROUND)
            }

    def intensities(self, key: str) -> NDArray[np.float32]:
        """Return (M, C) foreground intensities before normalisation: every tenth raw voxel."""
        with np.load(self._existing(key, _SAMPLES)) as samples:
            return np.asarray(samples["intensities"])

    def thumbnail(self, key: str) -> NDArray[np.float16]:
        """Return the (z, y, x) thumbnail of the raw image.

        Raises:
            StoreError: the case is absent, or was stored without one.
        """
        with np.load(self._existing(key, _SAMPLES)) as samples:
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
        self, key: str, lower_zyx: Triple, size_zyx: Triple
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], Inside]:
        """Read a box that may reach beyond the volume.

        Args:
            key: `dataset/case`.
            lower_zyx: first voxel of the box; may be negative.
            size_zyx: voxels of the box.

        Returns:
            Image (C, *size) in HU or z-scores, labels (*size), and the slices (z, y, x) of the
            box that lie in the volume. Beyond it the image is 0 and the labels are OUTSIDE: CT
            is normalised by the caller in `inside` only, so that padding is 0 AFTER
            normalisation as in nnU-Net v1's DataLoader3D.
        """
        stored = self._open(key, _IMAGE)
        source, inside = _overlap(stored.shape[-3:], lower_zyx, size_zyx)
        image_CZYX = np.zeros((stored.shape[0], *size_zyx), np.float32)
        labels_ZYX = np.full(size_zyx, OUTSIDE, np.uint8)
        if all(part.stop > part.start for part in source):
            decode_image(stored[(slice(None), *source)], out=image_CZYX[(slice(None), *inside)])
            labels_ZYX[inside] = self._open(key, _LABELS)[source]
        return image_CZYX, labels_ZYX, inside

    def _folder(self, key: str) -> Path:
        dataset, _, case = key.partition("/")
        return self.root / dataset / case

    def _existing(self, key: str, name: str) -> Path:
        path = self._folder(key) / name
        if not path.is_file():
            raise StoreError(f"{key} is not in the store {self.root}; prepare it first")
        return path

    def _open(self, key: str, name: str) -> blosc2.NDArray:
        path = self._existing(key, name)
        try:
            return open_array(path)
        except RuntimeError as error:
            raise StoreError(
                f"{path} is damaged ({error}); remove {path.parent} and prepare the case again"
            ) from error


def _overlap(shape: Triple, lower: Triple, size: Triple) -> tuple[Inside, Inside]:
    """Return the part of a box that lies in the volume, in volume and in box coordinates."""
    source, inside = [], []
    for extent, first, length in zip(shape, lower, size, strict=True):
        start = min(max(first, 0), extent)
        stop = max(start, min(first + length, extent))
        source.append(slice(start, stop))
        inside.append(slice(start - first, stop - first))
    return (source[0], source[1], source[2]), (inside[0], inside[1], inside[2])
