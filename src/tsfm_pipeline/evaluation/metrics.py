"""Scores of one case: a row per target with overlap, surface distances, volumes and lesions."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import ndimage

from tsfm_pipeline.evaluation.extra_targets import extra_targets
from tsfm_pipeline.evaluation.lesions import count_lesions
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.evaluation.surface import surface_distances
from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.imaging.labels import LabelTable

SCORES_SCHEMA = pa.schema(
    [
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("weights", pa.string(), nullable=False),
        pa.field("protocol", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("case", pa.string(), nullable=False),
        pa.field("patient", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("dice", pa.float64()),
        pa.field("nsd", pa.float64()),
        pa.field("hd95", pa.float64()),
        pa.field("reference_voxels", pa.int64(), nullable=False),
        pa.field("prediction_voxels", pa.int64(), nullable=False),
        pa.field("reference_ml", pa.float64(), nullable=False),
        pa.field("prediction_ml", pa.float64(), nullable=False),
        pa.field("both_empty", pa.bool_(), nullable=False),
        pa.field("false_positive_on_empty", pa.bool_(), nullable=False),
        pa.field("reference_lesions", pa.float64()),
        pa.field("detected_lesions", pa.float64()),
        pa.field("false_positive_lesions", pa.float64()),
        pa.field("reference_outside_crop", pa.float64()),
        pa.field("extra", pa.bool_()),
    ]
)
"""One row per experiment, weights (best, final or only), protocol, case and region; `target` names
the region. `hd95` is in mm. Lesions are NaN where the target is no tumour, `reference_outside_crop`
(a fraction) where the protocol crops nothing. `extra` rows are no regions but other readings of
targets (`extra_targets`); null, in tables of before and of other protocols, is false."""

ONLY = "only"
"""The `weights` of a method that has no checkpoints."""

AUTOMATIC = "automatic"
"""The `protocol` of a method that sees the image alone."""

PROMPTED = "prompted with ground truth"
"""The `protocol` of a method whose crop and clicks come from the reference it is scored against."""

Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]
Row = dict[str, str | int | float | bool]
Box = tuple[slice, ...]


def dice(reference: Mask, prediction: Mask) -> float:
    """Return 2 |A and B| / (|A| + |B|) of two masks of one shape.

    nnU-Net's convention (`evaluation/metrics.py`): NaN when both are empty, 0 when one is.

    >>> round(dice(np.array([True, True, False]), np.array([True, False, False])), 3)
    0.667
    """
    total = int(np.count_nonzero(reference)) + int(np.count_nonzero(prediction))
    return 2.0 * int(np.count_nonzero(reference & prediction)) / total if total else float("nan")


def score_case(
    reference: Labels,
    prediction: Labels,
    regions: Sequence[str],
    table: LabelTable,
    spacing: TripleFloat,
    settings: EvaluationSettings,
) -> list[Row]:
    """Score every region of one case, each within the box that its two masks span.

    After them come the `extra_targets`. Two targets that have the same voxels in both maps, as a
    liver without any tumour and its label alone, are measured once.

    >>> table = LabelTable(
    ...     targets={"liver": 5, "liver_tumor": 25}, regions={"liver": ("liver", "liver_tumor")}
    ... )
    >>> reference = np.zeros((4, 8, 8), np.uint8)
    >>> reference[1:3, 2:6, 2:6], reference[1, 3, 3] = 5, 25
    >>> prediction = np.where(reference == 25, 5, reference)  # the tumour is taken for liver
    >>> settings = EvaluationSettings(tumor_targets=("*_tumor",))
    >>> rows = score_case(
    ...     reference, prediction, ["liver", "liver_tumor"], table, (3.0, 1.0, 1.0), settings
    ... )
    >>> [(row["target"], round(row["dice"], 3), row["reference_ml"]) for row in rows]
    [('liver', 1.0, 0.096), ('liver_tumor', 0.0, 0.003), ('liver (label alone)', 0.984, 0.093)]
    >>> rows[1]["reference_lesions"], rows[1]["detected_lesions"]
    (1, 0)

    Args:
        reference: fused label integers (z, y, x); voxels outside the nonzero mask belong to none.
        prediction: fused label integers on the same grid.
        regions: the regions that the case annotates.
        table: says which integers a region joins.
        spacing: mm (z, y, x) of the grid.
        settings: tolerance, which regions are tumours, and what else is scored.

    Returns:
        A row per target: its plain name, whether it is extra, and what `score_masks` returns.

    Raises:
        ValueError: the maps have different shapes.
    """
    if reference.shape != prediction.shape:
        raise ValueError(
            f"reference {reference.shape} and prediction {prediction.shape} lie on different"
            " grids; export the prediction to the reference's grid first"
        )
    boxes = (ndimage.find_objects(reference), ndimage.find_objects(prediction))
    extra = extra_targets(regions, table, settings.unions)
    targets = {table.plain_name(region): table.region_ids(region) for region in regions} | extra
    measured: dict[tuple[frozenset[int], bool], Row] = {}
    rows: list[Row] = []
    for name, ids in targets.items():
        found = {i: [box[i - 1] for box in boxes if i <= len(box)] for i in ids}
        present = frozenset(i for i, parts in found.items() if any(parts))
        same = present, settings.is_tumor(name)
        if same not in measured:
            box = _joint_box([part for parts in found.values() for part in parts])
            masks = _mask(reference[box], ids), _mask(prediction[box], ids)
            measured[same] = score_masks(*masks, spacing, settings, name)
        rows.append({"target": name, "extra": name in extra, **measured[same]})
    return rows


def score_masks(
    reference: Mask,
    prediction: Mask,
    spacing: TripleFloat,
    settings: EvaluationSettings,
    region: str,
) -> Row:
    """Score two masks (z, y, x) of one region.

    Returns:
        What `overlap` returns, nsd, hd95 in mm, and for a tumour its lesions.
    """
    distances = surface_distances(reference, prediction, spacing)
    row = {
        **overlap(reference, prediction, spacing),
        "nsd": distances.nsd(settings.nsd_tolerance_mm),
        "hd95": distances.hd95(),
    }
    if settings.is_tumor(region):
        lesions = count_lesions(reference, prediction)
        row["reference_lesions"] = lesions.reference
        row["detected_lesions"] = lesions.detected
        row["false_positive_lesions"] = lesions.false_positive
    return row


def overlap(reference: Mask, prediction: Mask, spacing: TripleFloat) -> Row:
    """Return Dice, the volumes in voxels and ml, and what is empty, of two masks (z, y, x)."""
    voxels, predicted = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
    ml = float(np.prod(spacing)) / 1000
    return {
        "dice": dice(reference, prediction),
        "reference_voxels": voxels,
        "prediction_voxels": predicted,
        "reference_ml": voxels * ml,
        "prediction_ml": predicted * ml,
        "both_empty": voxels == predicted == 0,
        "false_positive_on_empty": voxels == 0 < predicted,
    }


def _mask(labels: Labels, ids: Sequence[int]) -> Mask:
    """Return where a label is one of `ids`; for few of them faster than a table or np.isin."""
    mask = np.asarray(labels == ids[0])
    for value in ids[1:]:
        mask |= labels == value
    return mask


def _joint_box(boxes: Sequence[Box | None]) -> Box:
    """Return the smallest box around boxes, of which a label that is absent has none."""
    found = [box for box in boxes if box is not None]
    if not found:
        return (slice(0, 0),) * 3
    return tuple(
        slice(min(part.start for part in axis), max(part.stop for part in axis))
        for axis in zip(*found, strict=True)
    )
