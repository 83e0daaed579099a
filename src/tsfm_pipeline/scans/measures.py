"""What is measured of each target of a segmented scan."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import ImageVolume

VOLUME_COLUMNS = ("scan", "target", "label", "includes", "voxels", "volume_ml", "mean_intensity")
PERCENTILES = (5, 25, 50, 75, 95)
STATISTICS_COLUMNS = (
    *VOLUME_COLUMNS,
    "sd_intensity",
    *(f"p{percent}_intensity" for percent in PERCENTILES),
)

Row = dict[str, str | int | float | None]


def measure_targets(
    labels_ZYX: NDArray[np.uint8],
    volume: ImageVolume,
    regions: Sequence[str],
    table: LabelTable,
) -> list[Row]:
    """Measure each target: its voxels, volume and mean intensity.

    A region of several targets counts them all, whatever integer they are painted with: the liver
    includes its tumour, the kidneys those that are painted as left and right, as in the label
    table. Column `includes` names them.

    Returns:
        Per region a row with VOLUME_COLUMNS but `scan`; the volume in ml, the intensity (HU for
        CT) that of the first channel as the file holds it, None where the target is absent.
    """
    flat = labels_ZYX.ravel()
    voxels = np.bincount(flat, minlength=256)
    sums = np.bincount(flat, weights=volume.array[0].ravel(), minlength=256)
    voxel_ml = float(np.prod(volume.geometry.spacing)) / 1000
    rows: list[Row] = []
    for region in regions:
        ids = list(table.composed_ids(region))
        painted = [name for name in regions if table.region_ids(name)[0] in ids[1:]]
        count = int(voxels[ids].sum())
        rows.append(
            {
                "target": region,
                "label": ids[0],
                "includes": " ".join(painted),
                "voxels": count,
                "volume_ml": round(count * voxel_ml, 4),
                "mean_intensity": round(float(sums[ids].sum()) / count, 2) if count else None,
            }
        )
    return rows


def add_spread(
    rows: Sequence[Row], labels_ZYX: NDArray[np.uint8], volume: ImageVolume, table: LabelTable
) -> list[Row]:
    """Add standard deviation and percentiles of the intensity to the rows of `measure_targets`.

    Returns:
        Rows with STATISTICS_COLUMNS but `scan`; None where the target is absent.
    """
    wider = []
    for row in rows:
        values = volume.array[0][region_mask(labels_ZYX, str(row["target"]), table)]
        spread: list[float | None] = [None] * (1 + len(PERCENTILES))
        if values.size:
            percentiles = np.percentile(values, PERCENTILES)
            found = [values.std(dtype=np.float64), *percentiles]
            spread = [round(float(value), 2) for value in found]
        names = STATISTICS_COLUMNS[len(VOLUME_COLUMNS) :]
        wider.append({**row, **dict(zip(names, spread, strict=True))})
    return wider


def region_mask(labels_ZYX: NDArray[np.uint8], region: str, table: LabelTable) -> NDArray[np.bool_]:
    """Return which voxels belong to a region, with what lies in it (a liver with its tumour)."""
    inside = np.zeros(256, dtype=bool)
    inside[list(table.composed_ids(region))] = True
    return np.asarray(inside[labels_ZYX])


def volume_text(row: Mapping[str, object]) -> str:
    """Say a target's volume in words that leave no doubt what is in it.

    >>> volume_text({"target": "liver", "includes": "liver_tumor", "volume_ml": 1510.04})
    'liver, with liver_tumor: 1510.0 ml'
    """
    included = f", with {str(row['includes']).replace(' ', ', ')}" if row["includes"] else ""
    return f"{row['target']}{included}: {row['volume_ml']:.1f} ml"
