"""nnU-Net v1's plan of a dataset: patch, batch, pooling and kernels, each with its reason.

After nnU-Net v1.7.1, experiment_planning/experiment_planner_baseline_3DUNet_v21.py and
experiment_planner_baseline_3DUNet.py:plan_experiment; the rule of batch Dice is that of
run/default_configuration.py. The same numbers come out (tests/planning/test_plan.py).
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import Triple, TripleFloat
from tsfm_pipeline.planning.fingerprint import Fingerprint
from tsfm_pipeline.planning.network_memory import REFERENCE_GB, budget_values, unet_values
from tsfm_pipeline.planning.settings import PlanningSettings
from tsfm_pipeline.planning.target_spacing import TargetSpacing, choose_target_spacing
from tsfm_pipeline.planning.topology import Topology, topology_for

SMALLEST_BATCH = 2
BATCH_SHARE = 0.05
"""A batch never covers more of all the dataset's voxels than this."""
INITIAL_EDGE = 512
"""Voxels of the first patch's shortest side, before anything limits it."""
SEEN_AT_ONCE = 4
"""A patch that sees less than 1 / 4 of a median case calls for a low-resolution stage."""
LOWRES_STEP = 1.01
LOWRES_GAIN = 2
DUMMY_2D_ABOVE = 3
MASKED_BELOW = 3 / 4

Stage = Literal["3d_fullres", "3d_lowres"]
Normalisation = Literal["CT", "z-score", "z-score in the nonzero mask"]


class StagePlan(FrozenModel):
    """One resolution of a plan; axes in the plan's order.

    Attributes:
        name: nnU-Net's name of the configuration.
        spacing: mm of each axis.
        median_shape: voxels of the median case at that spacing.
        topology: patch, halvings, strides and kernels.
        batch_size: samples per iteration.
        values: nnU-Net's memory estimate of one sample.
        dummy_2d: whether augmentation rotates and scales within slices only.
        batch_dice: whether Dice is summed over the batch before it is divided.
        reasons: of each choice, in plain words.
    """

    name: Stage
    spacing: TripleFloat
    median_shape: Triple
    topology: Topology
    batch_size: int
    values: int
    dummy_2d: bool
    batch_dice: bool
    reasons: dict[str, str]


class Plan(FrozenModel):
    """The plan of one dataset for nnU-Net v1's U-Net.

    Attributes:
        dataset: name of the dataset entry.
        cases: that it was made from.
        memory_gb: of the GPU it was made for, GB.
        median_spacing: mm (z, y, x) of the cases.
        median_shape: voxels (z, y, x) of the cases' nonzero boxes at their own spacing.
        target_spacing: mm (z, y, x), with its reason.
        axes: canonical axis (0 = z, 1 = y, 2 = x) of each axis of the stages: coarsest first.
        normalisation: of each modality.
        fullres: the plan at the target spacing.
        lowres: the plan of the cascade's first stage; None where a patch sees enough of a case.
        reasons: of each choice, in plain words.
    """

    dataset: str
    cases: int
    memory_gb: float
    median_spacing: TripleFloat
    median_shape: TripleFloat
    target_spacing: TargetSpacing
    axes: Triple
    normalisation: dict[str, Normalisation]
    fullres: StagePlan
    lowres: StagePlan | None
    reasons: dict[str, str]


def plan_dataset(
    fingerprint: Fingerprint, settings: PlanningSettings, spacing: TripleFloat | None = None
) -> Plan:
    """Plan a dataset as nnU-Net v1 does.

    Args:
        fingerprint: of the dataset.
        settings: the memory to plan for.
        spacing: mm (z, y, x) that the cases are resampled to; None takes nnU-Net's rule.
    """
    if spacing is None:
        chosen = choose_target_spacing(fingerprint.spacings, fingerprint.shapes)
    else:
        chosen = TargetSpacing(spacing=spacing, reason="the pool's, preparation.target_spacing")
    target = np.array(chosen.spacing)
    resampled = np.array(fingerprint.spacings) / target * np.array(fingerprint.shapes)
    median_zyx = np.median(resampled, axis=0)
    coarsest = int(np.argmax(target))
    axes = [coarsest, *(axis for axis in range(3) if axis != coarsest)]
    planner = _StagePlanner(fingerprint, settings.memory_gb, target[axes], median_zyx[axes])
    fullres = planner.plan("3d_fullres", target[axes])
    lowres = _plan_lowres(planner, fullres, target, median_zyx, axes)
    share = math.prod(fullres.topology.patch) / np.prod(median_zyx)
    return Plan(
        dataset=fingerprint.dataset,
        cases=fingerprint.cases,
        memory_gb=settings.memory_gb,
        median_spacing=fingerprint.median_spacing,
        median_shape=fingerprint.median_shape,
        target_spacing=chosen,
        axes=(axes[0], axes[1], axes[2]),
        normalisation={name: _normalisation(name, fingerprint) for name in fingerprint.modalities},
        fullres=fullres.model_copy(update={"batch_dice": lowres is not None}),
        lowres=lowres,
        reasons={
            "memory_gb": (
                f"nnU-Net v1's limit is meant for {REFERENCE_GB:g} GB and is scaled linearly to"
                f" {settings.memory_gb:g}"
            ),
            "axes": f"the axis of largest spacing, {'zyx'[coarsest]}, comes first",
            "normalisation": (
                f"the nonzero box keeps {fingerprint.size_reduction:.0%} of a median case; below"
                f" {MASKED_BELOW:.0%} MR is normalised within the nonzero mask; CT never is"
            ),
            "lowres": _lowres_reason(share, lowres),
            "batch_dice": "over the batch where there is a low-resolution stage, in its full one",
        },
    )


class _StagePlanner:
    """Plans one dataset at several spacings."""

    def __init__(
        self,
        fingerprint: Fingerprint,
        memory_gb: float,
        full_spacing: NDArray[np.float64],
        median_shape: NDArray[np.float64],
    ) -> None:
        self._fingerprint = fingerprint
        self._budget = budget_values(memory_gb)
        self._full_spacing = full_spacing
        self._full_shape = median_shape

    def plan(self, name: Stage, spacing: NDArray[np.float64]) -> StagePlan:
        """Plan one stage; spacing and result have the coarsest axis first."""
        mm = _floats(spacing)
        # resampling leaves every axis a voxel, so a single slice keeps one at any spacing
        median = np.round(self._full_spacing / spacing * self._full_shape).astype(int).clip(1)
        start, initial = self._initial(mm, median)
        topology, steps = self._shrunk(start, mm, median)
        values = self._values(topology)
        batch, batch_reason = self._batch(topology, values, median)
        patch = topology.patch
        dummy_2d = max(patch) / patch[0] > DUMMY_2D_ABOVE
        return StagePlan(
            name=name,
            spacing=mm,
            median_shape=_ints(median),
            topology=topology,
            batch_size=batch,
            values=values,
            dummy_2d=dummy_2d,
            batch_dice=False,
            reasons={
                "patch": (
                    f"an equal length in mm of each axis, within the median case, is"
                    f" {_text(initial)}, padded to {_text(start.patch)} for its halvings; memory"
                    f" ({values / self._budget:.0%} of what fits) took {steps} step(s) off the axis"
                    f" that covered most of the median case {_text(_ints(median))}"
                ),
                "pools": (
                    "axes are halved while they have 8 voxels or more; one that is twice as coarse"
                    " as the finest, or coarser, waits until that one has caught up"
                ),
                "kernels": "1 voxel across an axis while its spacing is twice the others' or more",
                "batch_size": batch_reason,
                "dummy_2d": (
                    f"the longest side is {max(patch) / patch[0]:.2g} times the first axis;"
                    f" above {DUMMY_2D_ABOVE} rotations stay within slices"
                ),
            },
        )

    def _initial(self, mm: TripleFloat, median: NDArray[np.int64]) -> tuple[Topology, Triple]:
        """Return the largest patch worth having: equal in mm, clipped to the median case."""
        per_mm = 1 / np.array(mm)
        per_mm /= per_mm.mean()
        per_mm *= 1 / min(per_mm) * INITIAL_EDGE
        initial = _ints(np.minimum(np.round(per_mm).astype(int), median))
        return topology_for(mm, initial), initial

    def _shrunk(
        self, topology: Topology, mm: TripleFloat, median: NDArray[np.int64]
    ) -> tuple[Topology, int]:
        """Shorten the axis that covers most of the median case until the patch fits."""
        steps = 0
        while self._values(topology) > self._budget:
            covered = np.array(topology.patch) / median
            # a side of one voxel can't be shortened, however much of the median case it covers
            sides = [a for a in range(3) if topology.patch[a] > 1]
            axis = max(sides, key=lambda a: (covered[a], a))
            # The step is the divisor that the shortened patch has, which may be smaller.
            step = topology_for(mm, _less(topology.patch, axis, topology.divisor[axis])).divisor
            topology = topology_for(mm, _less(topology.patch, axis, step[axis]))
            steps += 1
        return topology, steps

    def _values(self, topology: Topology) -> int:
        return unet_values(
            topology.patch,
            topology.strides,
            self._fingerprint.channels,
            self._fingerprint.classes + 1,
        )

    def _batch(self, topology: Topology, values: int, median: NDArray[np.int64]) -> tuple[int, str]:
        fits = int(max(self._budget / values, 1) * SMALLEST_BATCH)
        voxels = np.prod(median) * self._fingerprint.cases
        allowed = int(np.round(BATCH_SHARE * voxels / math.prod(topology.patch)))
        limit = max(allowed, SMALLEST_BATCH)
        if fits <= limit:
            return fits, f"{fits} fit; {allowed} would be {BATCH_SHARE:.0%} of all voxels"
        return limit, f"{fits} fit, but a batch covers at most {BATCH_SHARE:.0%} of all voxels"


def _plan_lowres(
    planner: _StagePlanner,
    fullres: StagePlan,
    target: NDArray[np.float64],
    median_zyx: NDArray[np.float64],
    axes: list[int],
) -> StagePlan | None:
    """Coarsen in steps of 1 % until a patch sees a quarter of the median case.

    Axes finer than half the coarsest are coarsened first.
    """
    patch_voxels = math.prod(fullres.topology.patch)
    voxels = np.prod(median_zyx)
    if voxels / patch_voxels < SEEN_AT_ONCE:
        return None
    spacing = target.copy()
    lowres = fullres
    while voxels > SEEN_AT_ONCE * patch_voxels:
        finer = max(spacing) / spacing > 2
        spacing[finer if finer.any() else slice(None)] *= LOWRES_STEP
        voxels = np.prod(target / spacing * median_zyx)
        lowres = planner.plan("3d_lowres", spacing[axes])
        patch_voxels = math.prod(lowres.topology.patch)
    smaller = LOWRES_GAIN * math.prod(lowres.median_shape) < math.prod(fullres.median_shape)
    return lowres if smaller else None


def _lowres_reason(share: float, lowres: StagePlan | None) -> str:
    seen = f"a patch sees {min(share, 1):.0%} of the median case"
    if lowres is not None:
        return f"{seen}, under a quarter: a low-resolution stage sees the rest"
    if share > 1 / SEEN_AT_ONCE:
        return f"{seen}, a quarter or more: none is needed"
    return f"{seen}, but a stage that sees a quarter would have over half as many voxels: none"


def _normalisation(modality: str, fingerprint: Fingerprint) -> Normalisation:
    if modality == "CT":
        return "CT"
    masked = fingerprint.size_reduction < MASKED_BELOW
    return "z-score in the nonzero mask" if masked else "z-score"


def _less(patch: Triple, axis: int, step: int) -> Triple:
    shorter = list(patch)
    shorter[axis] -= step
    return _ints(np.array(shorter))


def _ints(values: NDArray[np.integer]) -> Triple:
    first, second, third = values.tolist()
    return first, second, third


def _floats(values: NDArray[np.floating]) -> TripleFloat:
    first, second, third = values.tolist()
    return first, second, third


def _text(values: Triple) -> str:
    return " x ".join(str(value) for value in values)
