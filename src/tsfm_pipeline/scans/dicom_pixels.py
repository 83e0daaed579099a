"""Are the pixels of a DICOM file all there? GDCM fills up what is missing, in silence.

It does so where an element of pixels is too short in itself. Of one that the end of the file cuts
off, packed or plain, it says so.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from tsfm_pipeline.scans.problem import ScanError

_SYNTAX = b"\x02\x00\x10\x00UI"  # (0002,0010) in the file's meta header
_PIXELS = b"\xe0\x7f\x10\x00"  # (7FE0,0010) in little endian
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # implicit and explicit little endian


def check_pixels(path: Path, pixel_bytes: int) -> None:
    """Refuse a file with fewer pixels than its header says.

    Unpacked little-endian files are looked at; others pass.

    Args:
        path: a DICOM file.
        pixel_bytes: of its unpacked pixels, as its header says.

    Raises:
        ScanError: naming the file, and how many bytes there are.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if _transfer_syntax(content) not in _PLAIN:
            return
        # A stray tag among the pixels, or an icon's, may name another length.
        found = max(
            (min(length, len(content) - start) for start, length in _pixel_elements(content)),
            default=0,
        )
    if found < pixel_bytes:
        raise ScanError(
            f"{path.name} is truncated, {found} of {pixel_bytes} bytes of pixels; transfer or"
            " export the series again"
        )


def _transfer_syntax(content: mmap.mmap) -> str:
    at = content.find(_SYNTAX, 0, 4096)
    if at < 0:
        return ""
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    return content[at + 8 : at + 8 + length].decode("ascii", "replace").rstrip("\0 ")


def _pixel_elements(content: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Yield start and stated length of the value of whatever looks like an element of pixels."""
    at = content.find(_PIXELS)
    while at >= 0:
        explicit = content[at + 4 : at + 6] in (b"OW", b"OB")
        start = at + (12 if explicit else 8)
        if start <= len(content):
            yield start, int.from_bytes(content[start - 4 : start], "little")
        at = content.find(_PIXELS, at + 1)
