"""The public on-disk layouts, one module per publisher."""

from collections.abc import Callable, Mapping
from functools import partial

from tsfm_pipeline.phantom.layouts.amos22 import plan_amos22
from tsfm_pipeline.phantom.layouts.brats2020 import plan_brats2020
from tsfm_pipeline.phantom.layouts.breast import plan_breast
from tsfm_pipeline.phantom.layouts.btcv import plan_btcv
from tsfm_pipeline.phantom.layouts.flare22 import plan_flare22
from tsfm_pipeline.phantom.layouts.kits import plan_kits19, plan_kits21
from tsfm_pipeline.phantom.layouts.msd import TASKS, plan_msd
from tsfm_pipeline.phantom.layouts.totalsegmentator import plan_totalsegmentator
from tsfm_pipeline.phantom.plan import LayoutPlan

PLANNERS: Mapping[str, Callable[[int], LayoutPlan]] = {
    **{name: partial(plan_msd, name) for name in TASKS},
    "breast": plan_breast,
    "kits21": plan_kits21,
    "amos22": plan_amos22,
    "btcv": plan_btcv,
    "totalsegmentator": plan_totalsegmentator,
    "brats2020": plan_brats2020,
    "kits19": plan_kits19,
    "abdomenct1k": plan_flare22,
}
"""Dataset name -> planner of that many labelled cases."""

__all__ = ["PLANNERS"]
