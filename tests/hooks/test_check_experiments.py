"""A run is refused before its first node where one of its trainings could not start."""

import json
import logging
from pathlib import Path

import pytest
import torch
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.catalog import RecordDataset
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.hooks import CheckExperimentsHook
from tsfm_pipeline.model.published import nnunet, stunet
from tsfm_pipeline.model.published.reading import PublishedError
from tsfm_pipeline.network import extras
from tsfm_pipeline.network.sizes import HALVED, STUNetSize, UNetShape
from tsfm_pipeline.network.stunet import STUNet
from tsfm_pipeline.network.unet import PlainUNet
from tsfm_pipeline.nnunetv2 import NnunetError
from tsfm_pipeline.settings import CONFIG_LOADER_ARGS
from tsfm_pipeline.training.task import TrainingError

PUBLISHED = json.loads(
    (Path(__file__).parents[1] / "reference" / "published_checkpoints.json").read_text()
)
NNUNET, STUNET = "baseline.nnunet.msd_liver", "transfer.kits19.stunet.epoch100"
SWINUNETR, PROMPTED = "baseline.swinunetr.msd_liver", "pretrain.sam_med3d"
CHECKPOINT = {"pretraining": "checkpoint"}


@pytest.fixture
def check(repository, tmp_path):
    """Call the hook for a run of some experiments under `conf/test` with changed experiments."""

    def before_the_run(names, experiments=None, finished=()) -> None:
        catalog = DataCatalog()
        loader = OmegaConfigLoader(
            str(repository / "conf"),
            **(CONFIG_LOADER_ARGS | {"default_run_env": "test"}),
            runtime_params={"experiments": experiments or {}},
        )
        catalog["parameters"] = MemoryDataset(loader["parameters"])
        nodes = []
        for name in names:
            nodes.append(Node(lambda: None, None, f"{name}.model", name="train", namespace=name))
            path = tmp_path / f"{name}.json"
            model = "tsfm_pipeline.experiments.outcome.ModelRecord"
            catalog[f"{name}.model"] = RecordDataset(filepath=str(path), model=model)
        for name in finished:
            record = ModelRecord(experiment=name, status="finished", engine="nnunetv2")
            catalog.save(f"{name}.model", record)
        CheckExperimentsHook().before_pipeline_run(Pipeline(nodes), catalog)

    return before_the_run


def stunet_file(path: Path, channels: int) -> str:
    tensors = STUNet(1, 3, STUNetSize(channels=channels, blocks=1), (32, 32, 32)).state_dict()
    return save(path, tensors, stunet.our_names(PUBLISHED["stunet_small"]))


def unet_file(path: Path) -> str:
    shape = UNetShape(channels=2, strides=(HALVED,) * 5, kernels=((3, 3, 3),) * 6)
    tensors = PlainUNet(1, 3, shape, (32, 32, 32)).state_dict()
    return save(path, tensors, nnunet.our_names_v2(PUBLISHED["totalsegmentator"]))


def save(path: Path, tensors: dict[str, torch.Tensor], names: dict[str, str]) -> str:
    given = {their: tensors[our] for their, our in names.items() if our in tensors}
    torch.save({"state_dict": given}, path)
    return str(path)


@pytest.mark.parametrize("broken", ["absent", "torchvision::nms"])
def test_a_broken_environment_of_nnunet_is_refused(check, tmp_path, broken) -> None:
    python = tmp_path / "python"
    if broken != "absent":
        python.write_text(f"#!/bin/sh\necho 'ImportError: {broken}' >&2\nexit 1\n")
        python.chmod(0o755)
    engine = {"nnunet": {"engine": "nnunetv2", "python": str(python)}}
    with pytest.raises(NnunetError, match="make nnunet"):
        check([NNUNET], engine)
    check([NNUNET], engine, finished=[NNUNET])  # it has nothing to train
    check([STUNET], engine)
    check([NNUNET])


def test_a_checkpoint_of_another_size_or_network_is_refused(check, tmp_path) -> None:
    fits = stunet_file(tmp_path / "tiny.model", channels=8)
    check([STUNET], {"methods": {"stunet": {**CHECKPOINT, "checkpoint": fits}}})
    wide = stunet_file(tmp_path / "wide.model", channels=4)
    other = {"methods": {"stunet": {**CHECKPOINT, "checkpoint": wide}}}
    with pytest.raises(TrainingError, match=r"another size.*\(4, 1, 3, 3, 3\).*set `size`"):
        check([STUNET], other)
    check([NNUNET], other)  # no experiment of this run starts from it
    unet = unet_file(tmp_path / "unet.pth")
    with pytest.raises(TrainingError, match=r"set `network` to nnunet"):
        check([STUNET], {"methods": {"stunet": {**CHECKPOINT, "checkpoint": unet}}})


def test_a_planned_unet_is_checked_by_its_family_alone(check, tmp_path) -> None:
    name = "transfer.kits19.stunet.epoch100"
    unet = unet_file(tmp_path / "unet.pth")
    planned = {"network": "nnunet", "patch": "planned"}
    check([name], {"methods": {"stunet": {**CHECKPOINT, "checkpoint": unet, "training": planned}}})
    fixed = {"network": "nnunet", "patch": [32, 32, 32]}
    with pytest.raises(TrainingError, match="another size"):
        check(
            [name], {"methods": {"stunet": {**CHECKPOINT, "checkpoint": unet, "training": fixed}}}
        )


def test_own_weights_of_another_network_are_refused(check, tmp_path) -> None:
    from safetensors.torch import save_file

    save_file({"something": torch.zeros(2)}, tmp_path / "best.safetensors")
    start = {"pretrain": {"initial_weights": str(tmp_path / "best.safetensors")}}
    with pytest.raises(TrainingError, match="no tensor fits"):
        check(["pretrain.tsfm"], start)


def test_a_checkpoint_that_is_not_sam_med3ds_is_refused(check, tmp_path) -> None:
    pytest.importorskip("medim")
    wrong = stunet_file(tmp_path / "turbo.pth", channels=2)
    with pytest.raises(PublishedError, match=r"turbo\.pth is no checkpoint of SAM-Med3D"):
        check([PROMPTED], {"methods": {"sam_med3d": {"checkpoint": wrong}}})


def test_what_is_not_installed_is_said_once(check, tmp_path, monkeypatch, caplog) -> None:
    lacks = {"swinunetr": ("no_such_package",), "sam_med3d": ("medim_or_so",)}
    monkeypatch.setattr(extras, "PACKAGES", lacks)
    given = stunet_file(tmp_path / "turbo.pth", channels=2)
    names = [SWINUNETR, "baseline.swinunetr.amos22", "baseline.swinunetr.kits21", NNUNET, PROMPTED]
    with caplog.at_level(logging.WARNING):
        check(names, {"methods": {"sam_med3d": {"checkpoint": given}}})
        assert caplog.messages == [
            "network swinunetr needs no_such_package; pip install"
            ' "tsfm-pipeline[baselines]": 2 not run (baseline.swinunetr.amos22,'
            f" {SWINUNETR})",  # kits21's is left out in this environment
            'network sam_med3d needs medim_or_so; pip install "tsfm-pipeline[baselines]":'
            f" 1 not run ({PROMPTED})",
        ]
        caplog.clear()
        check([PROMPTED, NNUNET])  # without weights it says which
    assert caplog.messages == []
