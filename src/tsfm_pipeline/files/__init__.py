"""Files and folders that appear complete or not at all, and short names for their content."""

from tsfm_pipeline.files.digest import bytes_digest, content_digest, file_digest
from tsfm_pipeline.files.folder import atomic_folder, remove_abandoned
from tsfm_pipeline.files.names import as_utf8
from tsfm_pipeline.files.writing import UNFINISHED_FILE, write_atomically, write_bytes, write_text

__all__ = [
    "UNFINISHED_FILE",
    "as_utf8",
    "atomic_folder",
    "bytes_digest",
    "content_digest",
    "file_digest",
    "remove_abandoned",
    "write_atomically",
    "write_bytes",
    "write_text",
]
