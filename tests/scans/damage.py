"""Seeded damage to valid scans: truncation, flipped bits, headers that lie."""

import gzip
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from tests.scans.conftest import body, write_series
from tests.scans.damage_seen import seen_elsewhere

COUNT = 400
"""Of damaged files and series."""

NIFTI_FIELDS = {
    "sizeof_hdr": ("<i", 0, (0, 540, 10**9)),
    "dims": ("<8h", 40, ((3, 30000, 30000, 30000, 1, 1, 1, 1), (3, 0, 18, 14, 1, 1, 1, 1),
                         (3, -20, 18, 14, 1, 1, 1, 1), (7, 20, 18, 14, 9, 9, 9, 9),
                         (2, 20, 18, 1, 1, 1, 1, 1), (3, 20, 18, 9000, 1, 1, 1, 1))),
    "datatype": ("<h", 70, (0, 1, 128, 255, 2048, 9999)),
    "bitpix": ("<h", 72, (0, 1, 64, -16)),
    "pixdim": ("<3f", 80, ((0.0, 0.0, 0.0), (float("nan"),) * 3, (1e30,) * 3, (1e-30,) * 3,
                           (-2.0, 2.5, 3.0), (float("inf"), 1.0, 1.0), (900.0, 2.5, 3.0))),
    "vox_offset": ("<f", 108, (0.0, -1.0, 1e9, 1e30, float("nan"), 12345.0)),
    "scl_slope": ("<2f", 112, ((float("nan"), 0.0), (1e30, 0.0), (float("inf"), 1.0))),
    "form_codes": ("<2h", 252, ((0, 0), (9, 9))),
    "sform": ("<12f", 280, ((0.0,) * 12, (float("nan"),) * 12, (1e20,) * 12,
                            (1.0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0))),
    "quatern": ("<3f", 256, ((5.0, 5.0, 5.0), (float("nan"),) * 3)),
    "magic": ("<4s", 344, (b"ni1\0", b"xxxx")),
}  # fmt: skip

TEXT_EDITS = {
    ".nrrd": (
        (b"sizes: 20 18 14", b"sizes: 30000 30000 30000"),
        (b"sizes: 20 18 14", b"sizes: 20 18 0"),
        (b"sizes: 20 18 14", b"sizes: 20 -18 14"),
        (b"sizes: 20 18 14", b"sizes: 20 18 140000"),
        (b"dimension: 3", b"dimension: 16"),
        (b"type: short", b"type: block"),
        (b"type: short", b"type: double"),
        (b"encoding: gzip", b"encoding: raw"),
        (b"encoding: gzip", b"encoding: hex"),
        (b"space directions: (", b"space directions: (nan"),
        (b"space directions: (-2", b"space directions: (0"),
        (b"space directions: (-2", b"space directions: (-2e30"),
        (b"space origin: (", b"space origin: (inf"),
        (b"NRRD0004", b"NRRD9999"),
    ),
    ".mha": (
        (b"DimSize = 20 18 14", b"DimSize = 30000 30000 30000"),
        (b"DimSize = 20 18 14", b"DimSize = 20 18 0"),
        (b"DimSize = 20 18 14", b"DimSize = 20 18"),
        (b"NDims = 3", b"NDims = 99"),
        (b"ElementType = MET_SHORT", b"ElementType = MET_DOUBLE"),
        (b"ElementType = MET_SHORT", b"ElementType = MET_OTHER"),
        (b"ElementSpacing = 2 2.5 3", b"ElementSpacing = 0 0 0"),
        (b"ElementSpacing = 2 2.5 3", b"ElementSpacing = nan nan nan"),
        (b"ElementSpacing = 2 2.5 3", b"ElementSpacing = 1e30 1 1"),
        (b"TransformMatrix = -1 0 0", b"TransformMatrix = 0 0 0"),
        (b"CompressedDataSize = ", b"CompressedDataSize = 999999"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = /dev/zero"),
    ),
}


def valid_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of one small scan per format."""
    content = {}
    for suffix in (".nii", ".nii.gz", ".nrrd", ".mha"):
        path = folder / f"valid{suffix}"
        sitk.WriteImage(body(), str(path), useCompression=suffix != ".nii")
        content[suffix] = path.read_bytes()
    return content


def damaged_files(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write damaged files and series, each in a folder of its own: edits first, then random ones.

    Args:
        folder: where to.
        count: how many.
        seed: of the random ones.
    """
    source = folder.with_name(f"{folder.name}_valid")
    source.mkdir(parents=True)
    content = valid_files(source)
    made: list[Path] = []

    def put(suffix: str, what: str, data: bytes) -> None:
        path = folder / f"{len(made):03d}_{what}" / f"scan{suffix}"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        made.append(path)

    for name, (code, at, values) in NIFTI_FIELDS.items():
        for value in values:
            header = bytearray(content[".nii"])
            packed = struct.pack(code, *(value if isinstance(value, tuple) else (value,)))
            header[at : at + len(packed)] = packed
            put(".nii", name, bytes(header))
            put(".nii.gz", name, gzip.compress(bytes(header)))
    for suffix, edits in TEXT_EDITS.items():
        for old, new in edits:
            data = content[suffix].replace(old, new)
            assert data != content[suffix], old
            put(suffix, "text", data)
    for name, suffix, data in seen_elsewhere(content):
        put(suffix, name, data)
    random = np.random.default_rng(seed)
    kinds = [*content, ".dcm"]
    while len(made) < count:
        suffix = kinds[len(made) % len(kinds)]
        if suffix == ".dcm":
            series = folder / f"{len(made):03d}_series"
            files = write_series(series, uid=f"1.2.{len(made) + 1}", slices=4)
            path = files[int(random.integers(len(files)))]
            path.write_bytes(_damaged(path.read_bytes(), random))
            made.append(series)
        else:
            put(suffix, "random", _damaged(content[suffix], random))
    return made


def _damaged(data: bytes, random: np.random.Generator) -> bytes:
    """Cut a file off, or flip some bits: half of the time in its first 1,000 bytes."""
    if random.random() < 0.3:
        return data[: int(random.integers(0, len(data)))]
    broken = bytearray(data)
    reach = min(len(data), 1000) if random.random() < 0.5 else len(data)
    for _ in range(int(random.integers(1, 9))):
        broken[int(random.integers(reach))] ^= 1 << int(random.integers(8))
    return bytes(broken)
