"""Short names for content, all BLAKE2b.

The lengths are part of what is stored: weights are named by all 64 bytes (model folders of every
age hold such names), other files and what is made of them by 16, and folders of results by 6,
which a path can hold.
"""

import hashlib
import json
from mmap import mmap
from pathlib import Path

BYTES = 16
NAME_BYTES = 6

_digested: dict[Path, tuple[tuple[int, int, int], str]] = {}


def bytes_digest(content: bytes | mmap) -> str:
    """Return 32 hex digits that name a content."""
    return hashlib.blake2b(content, digest_size=BYTES).hexdigest()


def file_digest(path: Path) -> str:
    """Return 128 hex digits that name a file's bytes; raise OSError where it can't be read.

    A file that this process has digested is not read again while its size, time of change and
    inode stay: weights have gigabytes, and much depends on them.
    """
    stat = path.stat()
    state = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    known = _digested.get(path)
    if known is None or known[0] != state:
        with path.open("rb") as file:
            known = (state, hashlib.file_digest(file, "blake2b").hexdigest())
        _digested[path] = known
    return known[1]


def content_digest(content: object) -> str:
    """Return 12 hex digits that name a JSON-like content, in whatever order its keys are."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=NAME_BYTES).hexdigest()
