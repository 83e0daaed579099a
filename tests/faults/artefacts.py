"""Every kind of file that a workspace holds, and the command that reads or makes it."""

from dataclasses import dataclass

MODEL = "data/06_models/faults/pretrain.tsfm/*"
POOL = "data/03_primary/faults"
OUTPUT = "data/07_model_output/faults"


@dataclass(frozen=True)
class Artefact:
    """A kind of file.

    Attributes:
        name: as the table calls it.
        pattern: where such files are.
        phase: the command that is run after one of them was damaged or deleted.
        without: files and folders that are taken away before, so that it is read.
        told: the command can't make it again, and nothing but reports depends on it: a line about
            it is all that is asked for.
    """

    name: str
    pattern: str
    phase: str = "transfer"
    without: tuple[str, ...] = ()
    told: bool = False


UNFINISHED = tuple(f"{MODEL}/{name}" for name in ("summary.json", "digests.json", "final.s*"))
"""Takes a training back to before its end."""

ARTEFACTS = (
    Artefact("raw image", "data/01_raw/phantom/Task03_Liver/imagesTr/liver_0.nii.gz", "data_pool"),
    Artefact("raw label", "data/01_raw/phantom/Task03_Liver/labelsTr/liver_7.nii.gz", "data_pool"),
    Artefact("dataset.json", "data/01_raw/phantom/Task03_Liver/dataset.json", "data_pool"),
    Artefact("case index", "data/02_intermediate/faults/case_index.parquet", "data_pool"),
    Artefact("screening results", "data/02_intermediate/faults/screening/btcv.jsonl", "data_pool"),
    Artefact("integrity table", "data/02_intermediate/faults/integrity.parquet", "data_pool"),
    Artefact("target spacing", "data/02_intermediate/faults/target_spacing.json", "data_pool"),
    Artefact("stored image", f"{POOL}/cases/msd_liver/liver_0/image.b2nd", without=(MODEL,)),
    Artefact("stored image, verified", f"{POOL}/cases/*/*/image.b2nd", "verify"),
    Artefact("stored labels", f"{POOL}/cases/*/*/labels.b2nd", "verify"),
    Artefact("case.json", f"{POOL}/cases/*/*/case.json", "verify"),
    Artefact("stored samples", f"{POOL}/cases/*/*/samples.npz", "verify"),
    Artefact("pool catalogue", f"{POOL}/pool_catalogue.parquet", "data_pool"),
    Artefact("leakage table", f"{POOL}/leakage.parquet", "data_pool"),
    Artefact("pool versions", f"{POOL}/pool_versions.parquet", "data_pool"),
    Artefact("split", "data/05_model_input/faults/splits.parquet", "data_pool"),
    Artefact("plan", "data/05_model_input/faults/plans/btcv.json", "data_pool"),
    Artefact("model record", "data/06_models/faults/pretrain_tsfm.json"),
    Artefact("model.json", f"{MODEL}/model.json"),
    Artefact("best weights", f"{MODEL}/best.safetensors"),
    Artefact(
        "final weights",
        f"{MODEL}/final.safetensors",
        without=(f"{OUTPUT}/pretrain.tsfm/*/final", f"{OUTPUT}/pretrain_tsfm_prediction.json"),
    ),
    Artefact("digests.json", f"{MODEL}/digests.json"),
    Artefact("summary.json", f"{MODEL}/summary.json"),
    Artefact("metrics.jsonl", f"{MODEL}/metrics.jsonl", told=True),
    Artefact("metrics.jsonl, going on", f"{MODEL}/metrics.jsonl", without=UNFINISHED, told=True),
    Artefact("state.pt, going on", f"{MODEL}/state.pt", without=UNFINISHED),
    Artefact("model.json, going on", f"{MODEL}/model.json", without=UNFINISHED),
    Artefact("best weights, going on", f"{MODEL}/best.safetensors", without=UNFINISHED),
    Artefact(
        "weights.json",
        "data/06_models/faults/transfer.brats2020.pretrained.epoch100/*/weights.json",
        told=True,
    ),
    Artefact("predicted labels", f"{OUTPUT}/pretrain.tsfm/*/best/*/*.nii.gz"),
    Artefact("list of predictions", f"{OUTPUT}/pretrain_tsfm_predictions.parquet"),
    Artefact("prediction's outcome", f"{OUTPUT}/pretrain_tsfm_prediction.json"),
    Artefact("scores", f"{OUTPUT}/pretrain_tsfm_scores.parquet"),
    Artefact("scoring's outcome", f"{OUTPUT}/pretrain_tsfm_scoring.json"),
    Artefact("scores, report alone", f"{OUTPUT}/pretrain_scores.parquet", "report", told=True),
    Artefact("statuses, report alone", f"{OUTPUT}/pretrain_statuses.parquet", "report", told=True),
    Artefact("pool's page", "data/08_reporting/faults/pool.html", "data_pool"),
    Artefact("report", "data/08_reporting/faults/report.md/*/report.md", "report"),
    Artefact("mlflow.db", "mlflow.db"),
    Artefact("model.json, predict", f"{MODEL}/model.json", "predict"),
    Artefact("best weights, predict", f"{MODEL}/best.safetensors", "predict"),
    Artefact("scan", "data/01_raw/phantom/Task03_Liver/imagesTr/liver_0.nii.gz", "predict"),
    Artefact("segmentation", "data/predicted/liver_0.nii.gz", "predict", told=True),
    Artefact("segmentation's record", "data/predicted/liver_0.json", "predict"),
    Artefact("preview", "data/predicted/liver_0.png", "predict", told=True),
    Artefact("volumes.csv", "data/predicted/volumes.csv", "predict"),
)
