"""A web page per segmented scan: three planes, 3-D and numbers, from disk and without a network.

Where there is a reference, the page shows it beside the prediction. It holds the scan itself, at a
resolution that a browser opens in seconds. NiiVue (`viewer/`) draws it. Beside the pages lies a
folder with the files that all of them share.
"""

import base64
import gzip
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import nibabel
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from tsfm_pipeline.files import write_bytes, write_text
from tsfm_pipeline.imaging.geometry import Geometry, Triple
from tsfm_pipeline.imaging.volume import ImageVolume
from tsfm_pipeline.scans.label_files import label_colour
from tsfm_pipeline.scans.measures import Row, volume_text
from tsfm_pipeline.scans.overlay import display_window
from tsfm_pipeline.scans.record import ScanRecord, outputs_of
from tsfm_pipeline.scans.segment import ras_affine

INDEX = "index.html"
VIEWER = "viewer"
"""Folder of the files that all pages share."""

MOST_VOXELS = 10_000_000
"""Of a scan in a page: 512x512x300 at half its resolution. More take too long without a GPU."""

_CT_WINDOWS = (
    ("soft tissue", -160, 240),
    ("lung", -1350, 150),
    ("bone", -450, 1050),
    ("brain", 0, 80),
)
_GRAY_LEVELS = 4095  # of an MR: what 12 bits hold

_TEMPLATES = Environment(
    loader=PackageLoader("tsfm_pipeline.scans"),
    undefined=StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Reference:
    """What a prediction is held against.

    Attributes:
        labels_ZYX: label integers, on the prediction's grid.
        volume_ml: target -> its volume in the reference.
        dice: target -> Dice of the prediction; NaN where both are empty.
    """

    labels_ZYX: NDArray[np.uint8]
    volume_ml: Mapping[str, float]
    dice: Mapping[str, float]


def write_page(
    path: Path,
    volume: ImageVolume,
    labels_ZYX: NDArray[np.uint8],
    record: ScanRecord,
    *,
    in_index: bool,
    reference: Reference | None = None,
) -> None:
    """Write the page of one scan, and the viewer's files beside it.

    Args:
        path: the page.
        volume: the scan; its first channel is shown.
        labels_ZYX: label integers on the same canonical grid.
        record: what the page says about it.
        in_index: whether an index will list it.
        reference: shown as outlines over the labels, which are a prediction then.
    """
    factors = coarser_by(volume.geometry)
    grid = _coarse_grid(volume.geometry, factors)
    image_ZYX = _block_means(volume.array[0], factors)
    shown_ZYX = _block_centres(labels_ZYX, factors)
    outlines_ZYX = np.zeros_like(shown_ZYX)
    sought_ZYX = shown_ZYX
    if reference is not None:
        reference_ZYX = _block_centres(reference.labels_ZYX, factors)
        outlines_ZYX = _rims(reference_ZYX)
        absent_ZYX = ~np.isin(shown_ZYX, np.unique(reference_ZYX))  # found by the prediction alone
        sought_ZYX = np.where(absent_ZYX, shown_ZYX, reference_ZYX)
    targets = [_target(row, sought_ZYX, grid, reference) for row in record.volumes]
    low, high = display_window(volume.array[0], record.modality)
    windows = [(f"{low:g} to {high:g}", low, high)]
    if record.modality == "CT":
        windows = list(_CT_WINDOWS)
    write_viewer(path.parent)
    page = _TEMPLATES.get_template("scan_page.html").render(
        record=record,
        in_index=in_index,
        viewer=VIEWER,
        targets=targets,
        windows=windows,
        coarser=" x ".join(f"1/{factor}" for factor in factors) if max(factors) > 1 else "",
        data={"targets": targets, "window": [low, high]},
        image=_packed(*_quantised(image_ZYX, record.modality), grid),
        labels=_packed(shown_ZYX, 1.0, grid),
        reference="" if reference is None else _packed(outlines_ZYX, 1.0, grid),
    )
    write_text(path, page)


def write_index(folder: Path, records: Mapping[str, ScanRecord]) -> None:
    """Write the list of all scans of a folder that have a page."""
    rows = []
    for name in sorted(records):
        paths = outputs_of(folder, name)
        if not paths["page"].exists():
            continue
        rows.append(
            {
                "record": records[name],
                "page": paths["page"].name,
                "picture": paths["preview"].name if paths["preview"].exists() else "",
                "found": [volume_text(row) for row in records[name].volumes if row["voxels"]],
            }
        )
    warnings = dict.fromkeys(text for name in records for text in records[name].warnings)
    write_viewer(folder)
    page = _TEMPLATES.get_template("scan_index.html")
    write_text(folder / INDEX, page.render(rows=rows, viewer=VIEWER, warnings=list(warnings)))


def write_viewer(folder: Path) -> None:
    """Copy the files that all pages of a folder share, NiiVue's licence among them."""
    target = folder / VIEWER
    target.mkdir(exist_ok=True)
    for source in files("tsfm_pipeline.scans").joinpath(VIEWER).iterdir():
        content, copy = source.read_bytes(), target / source.name
        if not copy.exists() or copy.read_bytes() != content:
            write_bytes(copy, content)


def coarser_by(grid: Geometry) -> Triple:
    """Return by how much (z, y, x) a grid is made coarser until a page can hold it.

    The axes of the finest spacing are halved first, so that voxels come near to cubes; none to
    nothing.
    """
    factors = np.ones(3, int)
    while math.prod(np.asarray(grid.shape) // factors) > MOST_VOXELS:
        steps = np.where(2 * factors <= grid.shape, np.multiply(grid.spacing, factors), np.inf)
        factors[np.isclose(steps, steps.min())] *= 2
    z, y, x = (int(factor) for factor in factors)
    return z, y, x


def _coarse_grid(grid: Geometry, factors: Triple) -> Geometry:
    z, y, x = (size // by for size, by in zip(grid.shape, factors, strict=True))
    whole = (z * factors[0], y * factors[1], x * factors[2])
    return replace(grid, shape=whole).resampled((z, y, x))


def _blocks(array_ZYX: NDArray, factors: Triple) -> NDArray:
    """Return a view (z, block, y, block, x, block); what is left at an end is cut off."""
    sizes = [size // by for size, by in zip(array_ZYX.shape, factors, strict=True)]
    cut = tuple(slice(size * by) for size, by in zip(sizes, factors, strict=True))
    pairs = [side for pair in zip(sizes, factors, strict=True) for side in pair]
    return array_ZYX[cut].reshape(pairs)


def _block_means(array_ZYX: NDArray[np.float32], factors: Triple) -> NDArray[np.float32]:
    if max(factors) == 1:
        return array_ZYX
    return np.asarray(_blocks(array_ZYX, factors).mean(axis=(1, 3, 5)), np.float32)


def _block_centres(labels_ZYX: NDArray[np.uint8], factors: Triple) -> NDArray[np.uint8]:
    z, y, x = (by // 2 for by in factors)
    return np.ascontiguousarray(_blocks(labels_ZYX, factors)[:, z, :, y, :, x])


def _rims(labels_ZYX: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the labels of those voxels alone that touch another label, by a face."""
    padded = np.pad(labels_ZYX, 1)
    inner = np.ones(labels_ZYX.shape, bool)
    for axis in range(3):
        for step in (-1, 1):
            inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1] == labels_ZYX
    return np.where(inner, np.uint8(0), labels_ZYX)


def _target(
    row: Row, labels_ZYX: NDArray[np.uint8], grid: Geometry, reference: Reference | None
) -> dict[str, object]:
    """Return what the page knows of a target; `centre` is (x, y, z) in mm of NIfTI's world."""
    label = int(str(row["label"]))
    inside_ZYX = labels_ZYX == label
    centre = None
    counts = inside_ZYX.sum(axis=(1, 2))
    if counts.any():  # the middle of its largest slice: inside it, or near
        z = int(counts.argmax())
        y, x = (np.median(axis) for axis in np.nonzero(inside_ZYX[z]))
        left, back, head = grid.index_to_world((z, y, x)).tolist()
        centre = [-left, -back, head]
    compared: dict[str, float | None] = {}
    if reference is not None:
        name = str(row["target"])
        dice = reference.dice[name]
        compared["reference_ml"] = reference.volume_ml[name]
        compared["dice"] = None if math.isnan(dice) else dice
    return {
        **compared,
        "name": row["target"],
        "label": label,
        "colour": label_colour(label),
        "includes": str(row["includes"]).split(),
        "voxels": row["voxels"],
        "volume_ml": row["volume_ml"],
        "mean": row["mean_intensity"],
        "centre": centre,
    }


def _quantised(image_ZYX: NDArray[np.float32], modality: str) -> tuple[NDArray[np.int16], float]:
    """Return whole numbers, and the factor that makes intensities of them: 1 HU for CT."""
    step = 1.0
    if modality == "MR":
        step = float(np.abs(image_ZYX).max()) / _GRAY_LEVELS
    limits = np.iinfo(np.int16)
    whole = np.rint(np.clip(image_ZYX / step, limits.min, limits.max))
    return whole.astype(np.int16), step


def _packed(array_ZYX: NDArray, step: float, grid: Geometry) -> str:
    """Return a gzipped NIfTI in base64."""
    image = nibabel.Nifti1Image(array_ZYX.transpose(2, 1, 0), ras_affine(grid))
    image.header.set_slope_inter(step, 0)
    return base64.b64encode(gzip.compress(image.to_bytes(), compresslevel=1)).decode("ascii")
