"""docs/own_dataset.md: its YAML blocks, as they stand there, add a dataset and prepare it."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import yaml
from kedro.config import OmegaConfigLoader
from pydantic import ValidationError

from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.experiments.planned import with_plan
from tsfm_pipeline.experiments.settings import PretrainSettings
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.parameters import Parameters
from tsfm_pipeline.planning.dataset_plan import DatasetPlan
from tsfm_pipeline.pool.settings import SplitSettings
from tsfm_pipeline.settings import CONFIG_LOADER_ARGS
from tsfm_pipeline.store.case_store import CaseStore

DOCUMENT = Path(__file__).parents[2] / "docs" / "own_dataset.md"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language, without the indentation of a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", DOCUMENT.read_text(), re.M | re.S)
    return ["\n".join(line[len(i) :] for line in text.split("\n")) for i, text in found]


@pytest.fixture
def raw_root(tmp_path: Path) -> Path:
    """Six made-up scans as the document describes them, one with a value that it does not list."""
    (header,) = map(json.loads, blocks("json"))
    folder = tmp_path / "raw" / "Dataset701_Thyroid"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps(header))
    rng = np.random.default_rng(0)
    for number in range(header["numTraining"]):
        label = np.zeros((12, 20, 22), np.uint8)
        label[3:10, 5:14, 6:16] = 1
        label[5:8, 8:11, 9:12] = 2
        image = rng.normal(40, 10, label.shape) + 100 * label
        if number == 5:
            label[0, 0, 0] = 7
        for part, array in (("imagesTr", image.astype(np.int16)), ("labelsTr", label)):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((2.0, 2.0, 3.0))
            name = f"case{number}" + ("_0000" if part == "imagesTr" else "")
            sitk.WriteImage(volume, str(folder / part / f"{name}.nii.gz"))
    return tmp_path / "raw"


def test_the_documents_blocks_add_a_dataset(make_project, run_kedro, raw_root: Path) -> None:
    project = make_project()
    (project / "conf/thyroid").mkdir()
    written = {}
    for text in blocks("yaml"):
        first = text.partition("\n")[0]
        if first.startswith("# conf/thyroid/"):
            (project / first.removeprefix("# ")).write_text(text)
            written[Path(first).name] = yaml.safe_load(text)
    assert len(written) == 5

    run_kedro(project, "data_pool", env="thyroid", params={"raw_root": str(raw_root)})

    catalogue = pd.read_parquet(project / "data/03_primary/thyroid/pool_catalogue.parquet")
    catalogue = catalogue.set_index("key")
    assert list(catalogue["verdict"]) == ["ok"] * 5 + ["quarantined"]
    assert "value(s) 7 are not" in catalogue["cause"]["thyroid/case5"]
    store = CaseStore(project / "data/03_primary/thyroid/cases")
    record = store.record("thyroid/case0")
    assert record.modality == "CT"
    assert record.target_voxels == {32: 7 * 9 * 10 - 27, 43: 27}
    assert record.annotated == ("thyroid_gland", "thyroid_nodule")

    base = yaml.safe_load((project / "conf/base/parameters_labels.yml").read_text())["labels"]
    own = written["parameters_labels.yml"]["labels"]
    merged = {key: base[key] | own.get(key, {}) for key in ("targets", "regions", "per_dataset")}
    table = LabelTable.model_validate(merged)
    assert table.regions_annotated_by(record.annotated) == ("thyroid_gland", "thyroid_nodule")
    assert table.region_ids("thyroid_gland") == (32, 43)

    splits = pd.read_parquet(project / "data/05_model_input/thyroid/splits.parquet")
    assert dict(splits["role"].value_counts()) == {"training": 3, "validation": 1, "test": 1}
    loader = OmegaConfigLoader(
        str(project / "conf"), **CONFIG_LOADER_ARGS | {"default_run_env": "thyroid"}
    )
    experiments = Parameters.from_mapping(loader["parameters"]).experiments
    plan = DatasetPlan.model_validate_json(
        (project / "data/05_model_input/thyroid/plans/thyroid.json").read_text()
    )
    training = with_plan(
        experiments.training_of(EXPERIMENTS["pretrain.tsfm"]),
        experiments.pretrain.planned,
        ["thyroid"],
        {"thyroid": plan},
    )
    assert (training.patch, training.batch_size) == (plan.tsfm.patch, plan.tsfm.batch_size)
    assert (training.size, training.epochs, training.momentum) == ("base", 1000, 0.99)


@pytest.mark.parametrize(
    ("environment", "role"), [("thyroid", "pretrain"), ("hippocampus_thyroid", "transfer")]
)
def test_the_documents_training_inherits_nothing_from_the_phantoms(
    environment: str, role: str, repository: Path
) -> None:
    """A value of conf/base that the document does not name would be trained with unseen."""
    start = f"# conf/{environment}/parameters_exp"
    (text,) = [text for text in blocks("yaml") if text.startswith(start)]
    base = yaml.safe_load((repository / "conf/base/parameters_experiments.yml").read_text())
    ours, theirs = (
        parameters["experiments"][role]["training"] for parameters in (yaml.safe_load(text), base)
    )
    budgets = {"epochs"} if role == "transfer" else set()  # of each budget apart
    assert set(theirs) - budgets <= set(ours)
    assert set(theirs["augmentation"]) <= set(ours["augmentation"])


def test_the_documents_weights_and_split_are_settings(tmp_path: Path) -> None:
    (weights,) = [text for text in blocks("yaml") if "initial_weights" in text]
    (split,) = [text for text in blocks("yaml") if "splits_final.json" in text]
    pretrain = yaml.safe_load(weights)["experiments"]["pretrain"]
    with pytest.raises(ValidationError, match=r"initial_weights\n.* /models/tsfm not found"):
        PretrainSettings.model_validate(pretrain)
    (tmp_path / "best.safetensors").touch()
    PretrainSettings.model_validate(pretrain | {"initial_weights": tmp_path})
    with pytest.raises(ValidationError, match=r"files\.thyroid"):
        SplitSettings.model_validate(yaml.safe_load(split)["splits"])


def test_the_document_overrides_the_reading_of_abdomenct1k(repository: Path) -> None:
    from omegaconf import OmegaConf

    from tsfm_pipeline.sources import Datasets

    (text,) = [text for text in blocks("yaml") if "abdomenct1k:" in text]
    base = OmegaConf.load(repository / "conf/base/parameters_datasets.yml")
    merged = OmegaConf.to_container(
        OmegaConf.merge({"datasets": base["datasets"]}, OmegaConf.create(text))
    )
    datasets = Datasets.model_validate(merged["datasets"]).root
    own, shipped = datasets["abdomenct1k"], datasets["abdomenct1k_organs"]
    assert own.layout == shipped.layout
    assert {v: n for v, n in own.labels.items() if n} == shipped.labels
