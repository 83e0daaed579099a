"""Run nnU-Net v2 in its own environment: plan, preprocess, train, predict."""

import json
import logging
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tsfm_pipeline.files import write_text
from tsfm_pipeline.model.folder import WEIGHTS
from tsfm_pipeline.nnunetv2.dataset import export_dataset, image_files
from tsfm_pipeline.nnunetv2.task import DATASET, NnunetTask

logger = logging.getLogger(__name__)

Report = Callable[[int, Mapping[str, float]], None]
"""Receives an epoch's metrics: (epoch counted from 0, name -> value)."""

SCRIPT = Path(__file__).with_name("script.py")
MARK = "@tsfm "
"""What the script's lines for us start with; all others are nnU-Net's own."""
SHOWN_LINES = 12


class NnunetError(ValueError):
    """nnU-Net v2 can't be run, or has failed."""


def run_nnunetv2(task: NnunetTask, report: Report) -> None:
    """Train nnU-Net v2 on a task and predict its held-out cases; what is finished is kept.

    nnU-Net's own log goes into `log.txt` of the folder. A training that was interrupted goes on
    from nnU-Net's last checkpoint.

    Args:
        task: cases, classes, settings, folder.
        report: called after every epoch with 'train/loss', 'val/dice', 'val/dice_ema' and
            'seconds_per_iteration'.

    Raises:
        NnunetError: the environment is missing or broken, nnU-Net has failed, or the folder's
            labels are those of other settings.
    """
    _check_labels(task)
    if _finished(task):
        logger.info("%s: nnU-Net v2 has already finished", task.spec.name)
        return
    if not task.validation:
        raise NnunetError(
            f"{task.spec.name}: nnU-Net v2 needs a validation case, and its dataset has too few"
            " persons to spare one; set splits.inner_folds to null"
        )
    check_environment(task.python)
    export_dataset(task)
    specification = task.folder / "nnunetv2.json"
    write_text(specification, json.dumps(_specification(task), indent=1))
    ended = deque[str](maxlen=SHOWN_LINES)
    total = task.spec.settings.epochs
    with (
        (task.folder / "log.txt").open("a", encoding="utf-8") as log,
        subprocess.Popen(
            [str(task.python), str(SCRIPT), str(specification)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=_environment(task),
            start_new_session=True,  # with its loader processes, to end all of them at once
        ) as process,
        tqdm(total=total, desc=f"{task.spec.name} (nnunetv2)", unit="epoch", disable=None) as bar,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(MARK):
                    _take(json.loads(line.removeprefix(MARK)), bar, report)
                    continue
                log.write(line)
                log.flush()
                if line.strip():
                    ended.append(line.rstrip())
        except BaseException:  # Ctrl-C and SIGTERM reach this process alone
            with suppress(ProcessLookupError):  # all have ended
                os.killpg(process.pid, signal.SIGTERM)
            raise
    if process.returncode or not _finished(task):
        raise NnunetError(
            f"{task.spec.name}: nnU-Net v2 ended with status {process.returncode}; its log is"
            f" {task.folder / 'log.txt'}, which ends so:\n" + "\n".join(ended)
        )


def _check_labels(task: NnunetTask) -> None:
    """Keep which label values make the classes; refuse a folder in which others did."""
    source, table = task.source, task.spec.table
    meant = {
        # in order: where the masks of two classes overlap, the later one wins
        "labels": [
            [value, name]
            for value, name in source.labels.items()
            if name is not None and table.target_of(source.name, name) in task.targets
        ],
        "unannotated": {kind: list(names) for kind, names in source.unannotated.items()},
    }
    path = task.folder / "labels.json"
    if path.exists() and json.loads(path.read_bytes()) != meant:
        raise NnunetError(
            f"{task.folder} holds a training on other labels: datasets.{source.name}.labels or"
            f" .unannotated has changed since ({path.name} has what they were); restore it, or"
            " remove the folder and train again"
        )
    write_text(path, json.dumps(meant) + "\n")


def check_environment(python: Path) -> None:
    """Refuse an environment without nnunetv2.

    Raises:
        NnunetError: with what to do.
    """
    remedy = "make it with `make nnunet`, or set experiments.nnunet.python to yours"
    if not python.is_file():
        raise NnunetError(f"the environment of nnU-Net v2 is not there ({python}): {remedy}")
    # importing the trainer takes seconds, and shows a torchvision that does not fit torch
    code = "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer; import timm"
    ran = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=False, env=_plain()
    )
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise NnunetError(f"{python} can't import nnunetv2 ({last}): {remedy}")


def _specification(task: NnunetTask) -> dict[str, object]:
    settings = task.spec.settings
    return {
        "dataset": DATASET,
        "epochs": settings.epochs,
        "iterations": settings.iterations_per_epoch,
        "validation_iterations": settings.validation_iterations,
        "device": settings.device,
        "processes": max(settings.workers, 1),
        "split": str(task.folder / "splits_final.json"),
        "predictions": {
            weights: [
                [
                    [str(file) for file in image_files(task, case)],
                    str(task.prediction(weights, case.case)),
                ]
                for case in task.scored
            ]
            for weights in WEIGHTS
        },
        "mark": MARK,
    }


def _environment(task: NnunetTask) -> dict[str, str]:
    """Return nnU-Net's environment, which tells it where its folders are."""
    folders = {
        f"nnUNet_{name}": str((task.folder / name).absolute())
        for name in ("raw", "preprocessed", "results")
    }
    # its planner sets as many threads, so 0 will not do
    workers = str(max(task.spec.settings.workers, 1))
    return _plain() | folders | {"nnUNet_n_proc_DA": workers, "PYTHONUNBUFFERED": "1"}


def _plain() -> dict[str, str]:
    """Return our environment without what would lead the other Python into our packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _take(said: Mapping[str, float], bar: "tqdm[Any]", report: Report) -> None:
    epoch = int(said["epoch"])
    metrics = {name: value for name, value in said.items() if name != "epoch"}
    report(epoch, metrics)
    bar.update(epoch + 1 - bar.n)
    bar.set_postfix(loss=f"{metrics['train/loss']:.3f}", dice=f"{metrics['val/dice']:.3f}")


def _finished(task: NnunetTask) -> bool:
    return all(
        task.prediction(weights, case.case).exists() for weights in WEIGHTS for case in task.scored
    )
