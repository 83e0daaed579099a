"""The project's pipelines. A named one includes the upstream it needs."""

from kedro.pipeline import Pipeline

from tsfm_pipeline.experiments.grid import PIPELINES
from tsfm_pipeline.experiments.own_grid import OWN
from tsfm_pipeline.pipelines import (
    ablation,
    baseline,
    data_pool,
    phantom,
    predict,
    pretrain,
    reporting,
    study,
    transfer,
)
from tsfm_pipeline.pipelines.experiment.pipeline import create_grid_pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Register every pipeline that `kedro run --pipelines NAME` knows.

    Each ends with the report: what has not been run yet shows as 'not run' in its tables. Only
    `predict` is for itself: it needs a model folder and scans, no pool.
    """
    raw = phantom.create_pipeline()
    pool = raw + data_pool.create_pipeline()
    pretraining = pool + pretrain.create_pipeline()
    transfers = pretraining + transfer.create_pipeline()
    baselines = pool + baseline.create_pipeline()
    ablations = pool + ablation.create_pipeline()
    studies = pretraining + study.create_pipeline()
    own = pretraining + create_grid_pipeline(OWN) if OWN in PIPELINES else Pipeline([])
    report = reporting.create_pipeline()
    everything = baselines + transfers + ablations + studies + own + report
    return {
        "__default__": everything,
        "phantom": raw,
        "data_pool": pool,
        "baseline": baselines + report,
        "pretrain": pretraining + report,
        "transfer": transfers + report,
        "ablation": ablations + report,
        "study": studies + report,
        **({OWN: own + report} if OWN in PIPELINES else {}),
        "reporting": everything,
        "predict": predict.create_pipeline(),
    }
