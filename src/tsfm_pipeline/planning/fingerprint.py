"""The fingerprint of a dataset: everything that its plan is made from.

After nnU-Net v1.7.1, experiment_planning/DatasetAnalyzer.py. As there, all cases count, those that
will be held out too: a patch size gives nothing away about their labels.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import Triple, TripleFloat
from tsfm_pipeline.store.record import CaseRecord


class PlanningError(ValueError):
    """Something that cannot be planned."""


class Fingerprint(FrozenModel):
    """Shapes, spacings and kind of a dataset's cases.

    Attributes:
        dataset: name of the dataset entry.
        modalities: those that occur, sorted.
        channels: image channels.
        classes: foreground labels.
        shapes: voxels (z, y, x) of each case's nonzero box before resampling.
        spacings: mm (z, y, x) of each case before resampling.
        size_reduction: median over cases of the share of voxels that the nonzero box keeps.
    """

    dataset: str
    modalities: tuple[Literal["CT", "MR"], ...]
    channels: int
    classes: int
    shapes: tuple[Triple, ...]
    spacings: tuple[TripleFloat, ...]
    size_reduction: float

    @classmethod
    def from_records(cls, dataset: str, records: Sequence[CaseRecord]) -> "Fingerprint":
        """Take the fingerprint of a dataset's stored cases.

        Raises:
            PlanningError: there is no case.
        """
        if not records:
            raise PlanningError(f"{dataset} has no prepared case to plan from; prepare it first")
        kept = [math.prod(r.crop_shape) / math.prod(r.uncropped_shape) for r in records]
        return cls(
            dataset=dataset,
            modalities=tuple(sorted({record.modality for record in records})),
            channels=records[0].channels,
            classes=len({target for record in records for target in record.annotated}),
            shapes=tuple(record.crop_shape for record in records),
            spacings=tuple(record.uncropped_spacing for record in records),
            size_reduction=float(np.median(kept)),
        )

    @property
    def cases(self) -> int:
        """Number of cases."""
        return len(self.shapes)

    @property
    def median_shape(self) -> TripleFloat:
        """Median voxels (z, y, x) of the nonzero boxes, each axis for itself."""
        z, y, x = np.median(self.shapes, axis=0).tolist()
        return z, y, x

    @property
    def median_spacing(self) -> TripleFloat:
        """Median mm (z, y, x), each axis for itself."""
        z, y, x = np.median(self.spacings, axis=0).tolist()
        return z, y, x
