"""Start the processes of a training, on this machine or as part of a group over several.

What is to be trained is written into the model folder, so that a process needs nothing but the
folder: `torchrun ... -m tsfm_pipeline.training FOLDER` joins or starts the same training.
"""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, record
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tsfm_pipeline.files import write_text
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.summary import TrainingSummary
from tsfm_pipeline.model.training_settings import ParallelSettings
from tsfm_pipeline.processes import end_by
from tsfm_pipeline.training import loop
from tsfm_pipeline.training.device import choose_device
from tsfm_pipeline.training.finished import finished_training
from tsfm_pipeline.training.group import join_group, local_rank
from tsfm_pipeline.training.task import TrainingError, TrainingTask

FOLLOW_SECONDS = 1.0
SHUTDOWN_SECONDS = 600
"""Time that processes get to save before they are killed; torch's 30 s do not suffice for huge."""

logger = logging.getLogger(__name__)


def train(task: TrainingTask, folder: Path, report: loop.Report) -> TrainingSummary:
    """Train in this process, or in as many as the task's settings ask for; see `loop.train`.

    On Ctrl-C or SIGTERM the processes save and end, and KeyboardInterrupt or SystemExit is raised.
    A process that dies takes the others down, and all start again from the last saved state, at
    most `parallel.restarts` times.

    Raises:
        TrainingError: as `loop.train`; or a process of the group failed, with its message.
    """
    parallel = task.settings.parallel
    if parallel.processes * parallel.machines == 1:
        return loop.train(task, folder, report)
    model = ModelFolder(folder)
    finished = finished_training(task, model)
    if finished is not None:
        return finished
    choose_device(task.settings)  # a missing GPU is better told before processes start
    write_task(task, model)
    if parallel.machines > 1:
        logger.info(
            "%s: waiting for %d more machine(s); run there: %s",
            task.name,
            parallel.machines - 1,
            torchrun_line(parallel, folder),
        )
    # torch versions that do not know the variable keep to 30 seconds
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_SECONDS))
    config = LaunchConfig(
        min_nodes=parallel.machines,
        max_nodes=parallel.machines,
        nproc_per_node=parallel.processes,
        rdzv_backend="c10d",
        rdzv_endpoint=parallel.rendezvous if parallel.machines > 1 else "127.0.0.1:0",
        run_id=folder.name,
        max_restarts=parallel.restarts,
        monitor_interval=0.5,
    )
    with _followed(model, report):
        try:
            elastic_launch(config, train_folder)(str(folder))
        except SignalException as stopped:  # the processes have saved, and ended
            end_by(stopped.sigval)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            message = failure.message if isinstance(failure.message, str) else str(failure.message)
            raise TrainingError(
                f"{task.name}: process {rank} of {parallel.processes * parallel.machines} failed"
                f" {parallel.restarts + 1} time(s): {message}"
            ) from error
    summary = model.summary
    assert summary is not None  # written by the group before it ends
    return summary


def torchrun_line(parallel: ParallelSettings, folder: Path) -> str:
    """Return the command with which another machine joins a training."""
    return (
        f"torchrun --nnodes {parallel.machines} --nproc-per-node {parallel.processes}"
        f" --rdzv-backend c10d --rdzv-endpoint {parallel.rendezvous} --rdzv-id {folder.name}"
        f" --max-restarts {parallel.restarts} -m tsfm_pipeline.training {folder.resolve()}"
    )


def write_task(task: TrainingTask, folder: ModelFolder) -> None:
    """Write the task into the model folder, with paths that hold wherever a process starts."""
    folder.path.mkdir(parents=True, exist_ok=True)
    changes = {
        "store": task.store.resolve(),
        "initial_weights": task.initial_weights.resolve() if task.initial_weights else None,
        "threads": max(torch.get_num_threads() // task.settings.parallel.processes, 1),
    }
    write_text(folder.task, task.model_copy(update=changes).model_dump_json(indent=1))


@record
def train_folder(folder: str) -> None:
    """Train as one process of a group what a model folder's task describes.

    The group is the one of torch elastic's environment variables, as torchrun sets them.

    Raises:
        TrainingError: as `loop.train`; or the folder holds no task.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    path = ModelFolder(Path(folder)).task
    if not path.exists():
        raise TrainingError(
            f"{path} not found; `kedro run` with parallel.processes > 1 writes it, or"
            " launch.write_task"
        )
    task = TrainingTask.model_validate_json(path.read_bytes())
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    device = choose_device(task.settings, local_rank())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    group = join_group(device)
    if task.settings.batch_size % (group.size * task.settings.micro_batches):
        raise TrainingError(
            f"batch_size {task.settings.batch_size} can't be dealt out to {group.size}"
            f" processes in {task.settings.micro_batches} micro_batches; start fewer"
        )
    if not group.is_main:
        logging.getLogger().setLevel(logging.WARNING)
    loop.train(task, Path(folder), lambda e, m: None, group)
    # not after an error: NCCL would wait for processes that wait for this one
    distributed.destroy_process_group()


@contextmanager
def _followed(folder: ModelFolder, report: loop.Report) -> Iterator[None]:
    """Report the epochs that the group adds to the metrics file while it trains."""
    reported = max((int(metrics["epoch"]) for metrics in folder.epochs()), default=-1)
    ended = threading.Event()

    def report_new() -> None:
        nonlocal reported
        for metrics in folder.epochs():
            epoch = int(metrics.pop("epoch"))
            if epoch > reported:
                report(epoch, metrics)
                reported = epoch

    def follow() -> None:
        while not ended.wait(FOLLOW_SECONDS):
            report_new()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        report_new()
