"""Runs in nnU-Net v2's environment, which knows nothing of this project.

Plan, preprocess, train and predict one dataset with nnunetv2's own classes (version 2.8), whose
defaults are changed in two things alone: the numbers of epochs and of iterations. Started by
`engine.py` with the file of a task; nnU-Net finds its folders by its environment variables.
"""

import ctypes
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_results
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

CONFIGURATION = "3d_fullres"
PLANS = "nnUNetPlans"
TRAINER = "nnUNetTrainer"
CHECKPOINTS = {"best": "checkpoint_best.pth", "final": "checkpoint_final.pth"}


DIE_WITH_PARENT = (1, signal.SIGKILL)
"""Linux's PR_SET_PDEATHSIG: no training goes on when the engine was killed."""


def main() -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(*DIE_WITH_PARENT)
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    chosen = task["device"]
    if chosen == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(chosen)
    preprocessed = Path(nnUNet_preprocessed) / task["dataset"]
    prepare(task, preprocessed)
    output = train(task, device)
    predict(task, output, device)


def prepare(task: dict[str, Any], preprocessed: Path) -> None:
    """Plan and preprocess once."""
    done = preprocessed / "preprocessed.txt"
    if not done.exists():
        extract_fingerprints([1], num_processes=task["processes"], verbose=False)
        plan_experiments([1])
        preprocess([1], configurations=(CONFIGURATION,), num_processes=(task["processes"],))
        done.write_text("all cases are there\n", encoding="utf-8")
    shutil.copyfile(task["split"], preprocessed / "splits_final.json")


def train(task: dict[str, Any], device: torch.device) -> Path:
    """Train, or go on; return the folder that a predictor reads."""
    results: Path = Path(nnUNet_results) / task["dataset"] / f"{TRAINER}__{PLANS}__{CONFIGURATION}"
    folder = results / "fold_0"
    latest = folder / "checkpoint_latest.pth"
    if (folder / CHECKPOINTS["final"]).exists():
        return results
    trainer = get_trainer_from_args(
        task["dataset"], CONFIGURATION, 0, TRAINER, PLANS, latest.exists(), device
    )
    trainer.num_epochs = task["epochs"]
    trainer.num_iterations_per_epoch = task["iterations"]
    trainer.num_val_iterations_per_epoch = task["validation_iterations"]
    trainer.save_every = max(1, min(trainer.save_every, task["epochs"] // 20))
    if latest.exists():
        trainer.load_checkpoint(str(latest))
    _report_epochs(trainer, task)
    trainer.run_training()
    return results


def predict(task: dict[str, Any], output: Path, device: torch.device) -> None:
    """Predict what is not predicted yet, as nnUNetv2_predict does by default."""
    for weights, checkpoint in CHECKPOINTS.items():
        missing = [pair for pair in task["predictions"][weights] if not Path(pair[1]).exists()]
        if not missing:
            continue
        predictor = nnUNetPredictor(
            perform_everything_on_device=device.type == "cuda", device=device, verbose=False
        )
        predictor.initialize_from_trained_model_folder(str(output), (0,), checkpoint)
        for images, target in missing:
            path = Path(target)
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"unfinished_{path.name}")
            predictor.predict_from_files_sequential(
                [images], [str(unfinished).removesuffix(".nii.gz")], overwrite=True
            )
            unfinished.replace(path)


def _report_epochs(trainer: nnUNetTrainer, task: dict[str, Any]) -> None:
    """Print a line for the engine after every epoch."""
    end = trainer.on_epoch_end
    started = time.monotonic()

    def on_epoch_end() -> None:
        nonlocal started
        epoch = trainer.current_epoch
        end()
        said = {
            "epoch": epoch,
            "train/loss": _last(trainer, "train_losses"),
            "val/dice": _last(trainer, "mean_fg_dice"),
            "val/dice_ema": _last(trainer, "ema_fg_dice"),
            "seconds_per_iteration": (time.monotonic() - started) / task["iterations"],
        }
        started = time.monotonic()
        print(task["mark"] + json.dumps(said), flush=True)

    trainer.on_epoch_end = on_epoch_end


def _last(trainer: nnUNetTrainer, name: str) -> float:
    return float(trainer.logger.get_value(name, step=-1))


if __name__ == "__main__":
    main()
