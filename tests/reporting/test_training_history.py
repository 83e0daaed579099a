import json

import numpy as np

from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.reporting.training_history import read_history


def line(epoch, **metrics):
    return json.dumps({"epoch": epoch, "train/loss": 1.0 / (epoch + 1), "lr": 0.1, **metrics})


def test_epochs_of_several_trainings(tmp_path):
    folders = {name: ModelFolder(tmp_path / name) for name in ("a", "b", "none")}
    for name in ("a", "b"):
        folders[name].path.mkdir()
    repeated = [line(0, **{"val/dice": 0.1, "val/dice_ema": 0.1}), line(1), line(1) + " ", '{"ep']
    folders["a"].metrics.write_text("\n".join(repeated))
    folders["b"].metrics.write_text(line(0) + "\n")
    found = read_history(folders)
    assert found[["experiment", "epoch"]].to_numpy().tolist() == [["a", 0], ["a", 1], ["b", 0]]
    assert found["loss"].tolist() == [1.0, 0.5, 1.0]
    assert found["dice"].iloc[0] == 0.1 and np.isnan(found["dice"].iloc[1])


def test_nothing_trained(tmp_path):
    assert read_history({"none": ModelFolder(tmp_path)}).empty
