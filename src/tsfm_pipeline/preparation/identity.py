"""When a prepared case is still the right one: digests of its files and of how it was made."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from tsfm_pipeline.imaging.file_volume import unreachable
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources.source import Source, SourceCase

FileDigest = Callable[[Path], str]

PREPARATION_VERSION = 1
"""Raise by one with every change of the code that changes what is stored."""


def image_digest(case: SourceCase, of_file: FileDigest | None = None) -> str:
    """Digest the bytes of a case's image files, in channel order; paths play no part.

    Args:
        case: the case.
        of_file: gives the digest of a file; `file_digest` unless a caller has it already.

    Raises:
        VolumeError: a file can't be read.
    """
    return _joined([("image", path) for path in case.images], of_file or file_digest)


def label_digest(case: SourceCase, of_file: FileDigest | None = None) -> str:
    """Digest the bytes of a case's label files, in order, with the class of each."""
    files = [(f"label {label.class_name or ''}", label.path) for label in case.labels]
    return _joined(files, of_file or file_digest)


def raw_digest(case: SourceCase) -> str:
    """Digest all files of a case; raise VolumeError where one can't be read."""
    return bytes_digest(f"{image_digest(case)}\0{label_digest(case)}".encode())


def file_digest(path: Path) -> str:
    """Digest the bytes of a file; raise VolumeError where it can't be read."""
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    except OSError as error:
        raise unreachable(path, error) from error
    return content.hexdigest()


def bytes_digest(content: bytes) -> str:
    """Digest the content of a file, as `file_digest`."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _joined(files: list[tuple[str, Path]], of_file: FileDigest) -> str:
    return bytes_digest("".join(f"{role}\0{of_file(path)}\0" for role, path in files).encode())


def preparation_digest(
    case: SourceCase, source: Source, table: LabelTable, settings: PreparationSettings
) -> str:
    """Digest everything besides the raw bytes that decides what is stored of a case."""
    decided_by = {
        "version": PREPARATION_VERSION,
        "settings": settings.model_dump(mode="json", exclude={"jobs"}),
        "modality": case.modality,
        "patient": case.patient,
        "labels": [[str(key), value] for key, value in source.value_mapping(table).items()],
        "annotated": [
            [name, table.id_of(name)] for name in source.annotated_targets(case.modality)
        ],
    }
    text = json.dumps(decided_by, separators=(",", ":"))
    return bytes_digest(text.encode())
