"""What is known of a stored case besides its voxels."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import field_validator

from tsfm_pipeline.files import bytes_digest
from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import Geometry, Reorientation, Triple, TripleFloat


class CaseRecord(FrozenModel):
    """The sidecar of a stored case: enough to bring a prediction back onto the raw file's grid.

    The way from a file to the stored grid is: `reorientation`, crop, resampling.

    Attributes:
        dataset: name of the dataset entry.
        case: identifier, unique within the dataset.
        patient: identifier shared by scans of one patient.
        modality: CT (stored in HU) or MR (stored z-scored).
        channels: image channels.
        geometry: the stored grid (canonical, cropped, resampled).
        file_geometry: the grid of the raw image as its file states it.
        reorientation: turns the file's array into the canonical one.
        crop_lower: first voxel (z, y, x) of the nonzero box on the canonical grid.
        crop_shape: voxels (z, y, x) of that box before resampling.
        uncropped_shape: voxels (z, y, x) of the canonical grid.
        uncropped_spacing: mm (z, y, x) of the canonical grid.
        target_voxels: stored voxels of each target integer that occurs.
        annotated: targets that the case annotates, present or not.
        raw_digest: digest of the raw files' bytes.
        preparation_digest: digest of everything that decided how they were prepared.
        image_identity: digest of the image files' bytes and of what decided the stored image;
            two cases of one name that agree in it differ in labels at most.
        voxel_digest: `imaging.voxel_fingerprint` of the raw image; empty where it was not taken.
    """

    dataset: str
    case: str
    patient: str
    modality: Literal["CT", "MR"]
    channels: int
    geometry: Geometry
    file_geometry: Geometry
    reorientation: Reorientation
    crop_lower: Triple
    crop_shape: Triple
    uncropped_shape: Triple
    uncropped_spacing: TripleFloat
    target_voxels: dict[int, int]
    annotated: tuple[str, ...]
    raw_digest: str
    preparation_digest: str
    image_identity: str
    voxel_digest: str = ""

    @field_validator("dataset", "case")
    @classmethod
    def _is_folder_name(cls, name: str) -> str:
        # The names become folders; hidden ones are those of unfinished writes.
        if not name or name.startswith(".") or "/" in name or "\\" in name:
            raise ValueError(f"{name!r} can't name a folder of the store; rename the case")
        return name

    @property
    def key(self) -> str:
        """Name of the case in the pool: `dataset/case`."""
        return f"{self.dataset}/{self.case}"


class StoredFile(FrozenModel):
    """A file of a stored case as it was written.

    Attributes:
        size: bytes.
        digest: of its content.
    """

    size: int
    digest: str


class Sidecar(FrozenModel):
    """What stands in the case's JSON file.

    Attributes:
        record: what is known of the case.
        files: its other files by name.
        digest: of the two; empty in files older than this field, which nothing vouches for.
    """

    record: CaseRecord
    files: dict[str, StoredFile]
    digest: str = ""

    def to_json(self) -> bytes:
        """Return the file's content, with its digest."""
        content = self.model_dump(mode="json", exclude={"digest"})
        content["digest"] = _digest_of(content)
        return json.dumps(content, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Sidecar":
        """Read a file's content; raise ValueError where it is not what was written."""
        content = json.loads(text)
        sidecar = cls.model_validate(content)
        if sidecar.digest and sidecar.digest != _digest_of(content):
            raise ValueError("its digest is that of another content")
        return sidecar


def _digest_of(content: dict[str, Any]) -> str:
    # Of what the file holds, not of the model: one that gains a field still reads old files.
    kept = {name: value for name, value in content.items() if name != "digest"}
    return bytes_digest(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode())


def cases_digest(cases: Iterable[tuple[str, str, str]]) -> str:
    """Name a set of cases by its content: (key, raw digest, preparation digest) of each.

    The order of the cases changes nothing.
    """
    text = "\n".join(" ".join(case) for case in sorted(cases))
    return hashlib.sha256(text.encode()).hexdigest()
