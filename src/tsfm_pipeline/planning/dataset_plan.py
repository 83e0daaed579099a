"""The plan file of a dataset."""

import pandas as pd

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.planning.fingerprint import Fingerprint
from tsfm_pipeline.planning.plan import Plan, plan_dataset
from tsfm_pipeline.planning.settings import PlanningSettings
from tsfm_pipeline.planning.target_spacing import PoolSpacing
from tsfm_pipeline.planning.tsfm_plan import TsfmPlan, plan_for_tsfm
from tsfm_pipeline.preparation.verdict import Verdict
from tsfm_pipeline.store.case_store import CaseStore


class DatasetPlan(FrozenModel):
    """All that is planned for one dataset.

    Attributes:
        nnunet: nnU-Net v1's plan, at the target spacing that nnU-Net would choose.
        stored: the same rules at the spacing that the pool is stored at.
        tsfm: `stored` adapted to TSFM; what `planned` in the parameters stands for.
    """

    nnunet: Plan
    stored: Plan
    tsfm: TsfmPlan

    @classmethod
    def of(
        cls,
        fingerprint: Fingerprint,
        settings: PlanningSettings,
        stored_spacing: TripleFloat | None,
    ) -> "DatasetPlan":
        """Plan a dataset.

        >>> fingerprint = Fingerprint(
        ...     dataset="mine",
        ...     modalities=("CT",),
        ...     channels=1,
        ...     classes=2,
        ...     shapes=((120, 400, 400), (90, 380, 420)),
        ...     spacings=((2.5, 0.8, 0.8), (3.0, 0.75, 0.75)),
        ...     size_reduction=1.0,
        ... )
        >>> plan = DatasetPlan.of(fingerprint, PlanningSettings(), (1.5, 1.0, 1.0))
        >>> plan.nnunet.target_spacing.spacing, plan.nnunet.fullres.topology.patch
        ((2.55, 0.775, 0.775), (48, 192, 192))
        >>> plan.tsfm.patch, plan.tsfm.batch_size
        ((96, 160, 160), 2)

        Args:
            fingerprint: of the dataset.
            settings: the memory to plan for.
            stored_spacing: mm (z, y, x) of the pool; None where each case keeps its own.
        """
        stored = plan_dataset(fingerprint, settings, stored_spacing)
        return cls(
            nnunet=plan_dataset(fingerprint, settings), stored=stored, tsfm=plan_for_tsfm(stored)
        )


def plan_datasets(
    catalogue: pd.DataFrame, store: CaseStore, stored: PoolSpacing, settings: PlanningSettings
) -> dict[str, DatasetPlan]:
    """Plan patch, batch and pooling of every dataset as nnU-Net v1 does, and for TSFM.

    Args:
        catalogue: the pool catalogue; its usable cases are planned for.
        store: holds them.
        stored: the spacing that the pool is stored at.
        settings: the memory to plan for.
    """
    usable = catalogue[catalogue["verdict"] == Verdict.OK]
    plans = {}
    for dataset, cases in usable.groupby("dataset", sort=False):
        records = [store.record(key) for key in cases["key"]]
        fingerprint = Fingerprint.from_records(str(dataset), records)
        plans[str(dataset)] = DatasetPlan.of(fingerprint, settings, stored.spacing)
    return plans
