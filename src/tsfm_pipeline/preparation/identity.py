"""When a prepared case is still the right one: digests of its files and of how it was made."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tsfm_pipeline.files import bytes_digest
from tsfm_pipeline.files.digest import BYTES
from tsfm_pipeline.imaging.file_volume import check_regular, unreachable, volume_files
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources.source import Source, SourceCase

FileDigest = Callable[[Path], str]

PREPARATION_VERSION = 3
"""Raise by one with every change of the code that changes what is stored."""


def image_digest(case: SourceCase, of_file: FileDigest | None = None) -> str:
    """Digest the bytes of a case's image files, in channel order; paths play no part.

    Args:
        case: the case.
        of_file: gives the digest of a file; `volume_digest` unless a caller has it already.

    Raises:
        VolumeError: a file can't be read.
    """
    return _joined([("image", path) for path in case.images], of_file or volume_digest)


def label_digest(case: SourceCase, of_file: FileDigest | None = None) -> str:
    """Digest the bytes of a case's label files, in order, with the class of each."""
    files = [(f"label {label.class_name or ''}", label.path) for label in case.labels]
    return _joined(files, of_file or volume_digest)


def volume_digest(path: Path) -> str:
    """Digest the bytes of a volume's file or files; raise VolumeError where one can't be read."""
    digest = hashlib.blake2b(digest_size=BYTES)
    try:
        for part in volume_files(path):
            check_regular(part)
            with part.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
    except OSError as error:
        raise unreachable(path, error) from error
    return digest.hexdigest()


def _joined(files: list[tuple[str, Path]], of_file: FileDigest) -> str:
    return bytes_digest("".join(f"{role}\0{of_file(path)}\0" for role, path in files).encode())


@dataclass(frozen=True)
class RawDigests:
    """Which bytes a case is made from.

    Attributes:
        image: `image_digest` of the case.
        label: `label_digest` of the case.
    """

    image: str
    label: str

    @classmethod
    def of_files(cls, case: SourceCase) -> "RawDigests":
        """Digest a case's files; raise VolumeError where one can't be read."""
        return cls(image_digest(case), label_digest(case))

    @property
    def joined(self) -> str:
        """One digest of all files."""
        return bytes_digest(f"{self.image}\0{self.label}".encode())


def image_identity(case: SourceCase, raw: RawDigests, settings: PreparationSettings) -> str:
    """Digest everything that decides the stored image.

    Not quite everything: where MR is z-scored inside its nonzero mask, labelled voxels outside
    the mask count as inside, as in nnU-Net. `prepare_case` looks into that.
    """
    decided_by = {
        "version": PREPARATION_VERSION,
        "files": raw.image,
        "modality": case.modality,
        "target_spacing": settings.model_dump(mode="json")["target_spacing"],
    }
    return _digest_of(decided_by)


def preparation_digest(
    case: SourceCase, source: Source, table: LabelTable, settings: PreparationSettings
) -> str:
    """Digest everything besides the raw bytes that decides what is stored of a case."""
    decided_by = {
        "version": PREPARATION_VERSION,
        "settings": settings.model_dump(mode="json"),
        "modality": case.modality,
        "patient": case.patient,
        "labels": [[str(key), value] for key, value in source.value_mapping(table).items()],
        "annotated": [
            [name, table.id_of(name)] for name in source.annotated_targets(case.modality, table)
        ],
    }
    return _digest_of(decided_by)


def _digest_of(decided_by: dict[str, object]) -> str:
    return bytes_digest(json.dumps(decided_by, separators=(",", ":")).encode())
