"""When a prepared case is still the right one: digests of its files and of how it was made."""

import hashlib
import json

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import VolumeError
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources.source import Source, SourceCase

PREPARATION_VERSION = 2
"""Raise by one with every change of the code that changes what is stored."""


def raw_digest(case: SourceCase) -> str:
    """Digest the bytes of a case's files, in order, with the role of each but not its path.

    Raises:
        VolumeError: a file can't be opened.
    """
    digest = hashlib.blake2b(digest_size=16)
    files = [("image", path) for path in case.images]
    files += [(f"label {label.class_name or ''}", label.path) for label in case.labels]
    for role, path in files:
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        except OSError as error:
            raise VolumeError(
                f"{path}: {error.strerror}; check the download and the file's permissions"
            ) from error
        digest.update(f"{role}\0{content.hexdigest()}\0".encode())
    return digest.hexdigest()


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
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
