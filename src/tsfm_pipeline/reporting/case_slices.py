"""The slice of a raw case that a picture shows, with reference and predictions.

Shape letters: z, y, x voxels of the image's canonical grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tsfm_pipeline.evaluation.metrics import dice
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import read_image
from tsfm_pipeline.preparation.labels import read_prediction, read_targets
from tsfm_pipeline.reporting.example_cases import Example
from tsfm_pipeline.sources.source import Source, SourceCase

MARGIN_MM = 30.0
"""Around what is outlined."""

LATERAL_SWAP = "lateral swap"

Masks = list[NDArray[np.bool_]]


@dataclass(frozen=True)
class CaseSlice:
    """An axial slice, cut to what matters.

    Attributes:
        image_YX: its first channel.
        window: grey values shown as black and as white.
        aspect: height of a pixel over its width.
        reference: a mask per target.
        predictions: heading -> a mask per target.
        note: of the example; a lateral swap where the predictions of the two sides changed places.
    """

    image_YX: NDArray[np.float32]
    window: tuple[float, float]
    aspect: float
    reference: Masks
    predictions: Mapping[str, Masks]
    note: str


def read_slice(
    example: Example,
    case: SourceCase,
    source: Source,
    table: LabelTable,
    files: Mapping[str, Path],
) -> CaseSlice:
    """Read a case and cut the axial slice of the targets' largest extent out of it.

    The extent is the reference's; of an empty reference, the predictions'.

    Args:
        example: what to show.
        case: its raw files.
        source: its dataset entry.
        table: the fused label table.
        files: heading -> predicted file or folder.

    Raises:
        VolumeError, LabelError: a file can't be read.
    """
    image = read_image(case.images)
    reference_ZYX = read_targets(case, source, table, image)
    predicted = {
        heading: read_prediction(path, case, source, table, image)
        for heading, path in files.items()
    }
    names = [table.target_of(case.dataset, target) for target in example.targets]
    reference = _masks(reference_ZYX, names, table)
    predictions = {heading: _masks(labels, names, table) for heading, labels in predicted.items()}
    extent_ZYX = np.any(reference, axis=0)
    if not extent_ZYX.any():
        extent_ZYX = np.any([mask for masks in predictions.values() for mask in masks], axis=0)
    z = int(extent_ZYX.sum(axis=(1, 2)).argmax())
    shown_YX = extent_ZYX[z] | np.any([m[z] for ms in predictions.values() for m in ms], axis=0)
    spacing = image.geometry.spacing
    y, x = _box(shown_YX, spacing[1:])
    image_YX = image.array[0, z]
    low, high = np.percentile(image_YX, (1, 99.5))
    swapped = any(
        _is_swapped(name, reference_ZYX, labels, table)
        for name in names
        for labels in predicted.values()
    )
    return CaseSlice(
        image_YX=image_YX[y, x],
        window=(float(low), float(high)),
        aspect=spacing[1] / spacing[2],
        reference=[mask[z, y, x] for mask in reference],
        predictions={h: [mask[z, y, x] for mask in masks] for h, masks in predictions.items()},
        note=LATERAL_SWAP if swapped else example.note,
    )


def _masks(labels_ZYX: NDArray[np.uint8], names: Sequence[str], table: LabelTable) -> Masks:
    return [np.isin(labels_ZYX, table.region_ids(name)) for name in names]


def _box(shown_YX: NDArray[np.bool_], spacing: tuple[float, ...]) -> tuple[slice, slice]:
    """Return the smallest square in mm around a mask, with the margin, within the slice."""
    if not shown_YX.any():
        return slice(None), slice(None)
    bounds = [np.flatnonzero(shown_YX.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    half = max((b[1] - b[0] + 1) * mm for b, mm in zip(bounds, spacing, strict=True)) / 2
    boxes = []
    for (first, last), mm in zip(bounds, spacing, strict=True):
        middle, reach = (first + last + 1) / 2, (half + MARGIN_MM) / mm
        boxes.append(slice(max(int(middle - reach), 0), int(np.ceil(middle + reach))))
    return boxes[0], boxes[1]


def _is_swapped(
    name: str, reference_ZYX: NDArray[np.uint8], labels_ZYX: NDArray[np.uint8], table: LabelTable
) -> bool:
    """Tell whether the other side's prediction covers this reference better than its own."""
    partner = table.side_partners().get(name)
    if partner is None or partner not in table.targets:
        return False
    reference = np.isin(reference_ZYX, table.region_ids(name))
    own, other = _masks(labels_ZYX, (name, partner), table)
    if not reference.any() or not other.any():
        return False
    return dice(reference, other) > dice(reference, own)


def read_slices(
    examples: Sequence[Example],
    cases: Mapping[str, SourceCase],
    sources: Mapping[str, Source],
    table: LabelTable,
    files: Mapping[tuple[str, str], Path],
) -> list[tuple[Example, CaseSlice]]:
    """Read the slices of all examples that can be shown.

    Args:
        examples: what to show.
        cases: key -> raw files.
        sources: the dataset entries.
        table: the fused label table.
        files: (experiment, key) -> predicted file or folder.

    Returns:
        The examples with their slices, without systems that left no prediction. A case whose raw
        files or predictions are not on this machine (a report can be made elsewhere) is left out.
    """
    found = []
    for example in tqdm(examples, desc="Reading cases for the report", unit="case", disable=None):
        paths = {
            heading: path
            for heading, experiment in example.systems.items()
            if (path := files.get((experiment, example.key))) is not None and path.exists()
        }
        case = cases.get(example.key)
        if case is None or not paths or not _is_here(case):
            continue
        systems = {heading: example.systems[heading] for heading in paths}
        shown = replace(example, systems=systems)
        source = sources[case.dataset]
        found.append((shown, read_slice(shown, case, source, table, paths)))
    return found


def _is_here(case: SourceCase) -> bool:
    return all(path.exists() for path in (*case.images, *(label.path for label in case.labels)))
