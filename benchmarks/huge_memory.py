"""Peak memory of each phase of training and predicting with the paper's network on a CPU.

    TMPDIR=FOLDER python benchmarks/huge_memory.py [--size huge] [--patch 16 16 32] [--fsdp]

One process takes two steps, validates, writes weights and state and is killed; a second one goes on
from the state to the end of another such epoch; a third one predicts. Batch 1. "own" is memory that
only this process holds (RssAnon); "with files" adds what it has mapped (VmHWM), which the system
takes back when it needs it. `--fsdp` trains an epoch in two processes with FSDP2 instead; its
figure is of all processes together. For huge, FOLDER needs 26 GB on a disk; the kernel is asked to
kill these processes before any other.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import Figure, hand_over
from patch_reading import write_case
from preparation import measured

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.model import load_model, predict_scores
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import ParallelSettings, TrainingSettings
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.network.tsfm import TSFM
from tsfm_pipeline.reporting.markdown import markdown_table
from tsfm_pipeline.training.launch import train
from tsfm_pipeline.training.loop import TrainingRun
from tsfm_pipeline.training.task import TrainingTask

STEPS = 2
CASES = ("one", "two")
POLL_SECONDS = 0.02
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
METHODS = {
    "_train_step": "a step",
    "validate": "validation",
    "_save_weights": "writing the weights",
    "save": "writing the state",
}
Peak = tuple[float, float]
"""GiB: own, and with mapped files."""


class PhaseMemory:
    """The peaks of a process's phases, of which the inner ones are counted apart."""

    def __init__(self) -> None:
        self.peaks: dict[str, Peak] = {}
        self._open = ["start"]
        self._own = 0.0
        self._since = time.perf_counter()
        threading.Thread(target=self._watch, daemon=True).start()

    def watched(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the work as a phase."""

        def phase(*given: Any, **named: Any) -> Any:
            self._enter(name)
            try:
                return work(*given, **named)
            finally:
                self.leave()

        return phase

    def _enter(self, name: str) -> None:
        self._count()
        self._open.append(name)

    def leave(self) -> None:
        """End the innermost phase."""
        self._count()
        self._open.pop()

    def _count(self) -> None:
        """Give what was reached since the last call to the phase that was open."""
        before = self.peaks.get(self._open[-1], (0.0, 0.0))
        here = (max(self._own, _gib("RssAnon")), _gib("VmHWM"))
        self.peaks[self._open[-1]] = (max(before[0], here[0]), max(before[1], here[1]))
        CLEAR_REFS.write_text("5")  # VmHWM begins anew
        self._own = 0.0

    def _watch(self) -> None:
        while True:
            self._own = max(self._own, _gib("RssAnon"))
            time.sleep(POLL_SECONDS)


def _gib(key: str) -> float:
    found = re.search(rf"{key}:\s+(\d+) kB", STATUS.read_text())
    assert found
    return int(found[1]) / 2**20


def task_in(folder: Path, arguments: argparse.Namespace, epochs: int) -> TrainingTask:
    """Return the training: a few steps on one case, validated on another."""
    settings = TrainingSettings(
        size=arguments.size,
        patch=tuple(arguments.patch),
        batch_size=2 if arguments.fsdp else 1,
        iterations_per_epoch=STEPS,
        validation_iterations=1,
        epochs=epochs,
        workers=0,
        device="cpu",
        checkpoint_minutes=1e6,  # where the script says
        parallel=ParallelSettings(processes=2, strategy="fsdp", restarts=0)
        if arguments.fsdp
        else ParallelSettings(),
    )
    return TrainingTask(
        name="memory",
        settings=settings,
        store=folder / "store",
        training=[f"benchmark/{CASES[0]}"],
        validation=[f"benchmark/{CASES[1]}"],
        table=LabelTable(targets={"liver": 1, "tumor": 2}),
        regions=("liver",),
    )


def train_and_die(folder: Path, arguments: argparse.Namespace, memory: PhaseMemory) -> None:
    """Train an epoch, write the state, and be killed."""
    watch_run(memory)
    save = TrainingRun.save

    def save_and_die(run: TrainingRun) -> None:
        save(run)
        memory.leave()
        report(memory)
        os.kill(os.getpid(), signal.SIGKILL)

    TrainingRun.save = save_and_die  # type: ignore[method-assign]
    task = task_in(folder, arguments, epochs=1)
    memory.watched("building, and between", train)(task, folder / "model", lambda *_: None)


def resume(folder: Path, arguments: argparse.Namespace, memory: PhaseMemory) -> None:
    """Go on for another epoch."""
    watch_run(memory)
    restore = TrainingRun.__init__

    def restore_and_remove(run: TrainingRun, *given: Any) -> None:
        restore(run, *given)
        run.folder.state.unlink()  # disk: two states and all weights would not fit

    TrainingRun.__init__ = restore_and_remove  # type: ignore[method-assign]
    task = task_in(folder, arguments, epochs=2)
    memory.watched("restoring, and between", train)(task, folder / "model", lambda *_: None)
    report(memory)


def watch_run(memory: PhaseMemory) -> None:
    for method, name in METHODS.items():
        setattr(TrainingRun, method, memory.watched(name, getattr(TrainingRun, method)))


def predict(folder: Path, arguments: argparse.Namespace, memory: PhaseMemory) -> None:
    """Predict a volume of one patch with the final weights."""
    model = memory.watched("loading the model", load_model)(
        ModelFolder(folder / "model"), "final", "cpu"
    )
    image_CZYX = np.zeros((1, *arguments.patch), np.float32)
    scores = memory.watched("prediction", predict_scores)(
        model, image_CZYX, "CT", ["liver"], InferenceSettings()
    )
    assert np.isfinite(scores).all()
    report(memory)


def train_in_two(folder: Path, arguments: argparse.Namespace) -> None:
    """Train an epoch in two processes; print the seconds, as `measured` wants them."""
    started = time.perf_counter()
    train(task_in(folder, arguments, epochs=1), folder / "model", lambda *_: None)
    print(f"seconds {time.perf_counter() - started:.1f}")


def report(memory: PhaseMemory) -> None:
    """Print the peaks as JSON for the parent."""
    print(json.dumps(memory.peaks), flush=True)


CHILDREN = {"train": train_and_die, "resume": resume, "predict": predict}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="huge", choices=SIZES)
    parser.add_argument("--patch", type=int, nargs=3, default=(16, 16, 32))
    parser.add_argument("--fsdp", action="store_true")
    parser.add_argument("--child", choices=(*CHILDREN, "two"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        Path("/proc/self/oom_score_adj").write_text("1000")
        if arguments.child == "two":
            train_in_two(arguments.folder, arguments)
        else:
            CHILDREN[arguments.child](arguments.folder, arguments, PhaseMemory())
        return
    with torch.device("meta"):
        network = TSFM(1, 1, SIZES[arguments.size], tuple(arguments.patch))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    with tempfile.TemporaryDirectory() as name:
        for case in CASES:
            write_case(Path(name) / "store", (32, 32, 64), case)
        patch = [str(side) for side in arguments.patch]
        command = [sys.executable, __file__, "--size", arguments.size, "--patch", *patch]
        command += ["--folder", name]
        if arguments.fsdp:
            seconds, peak = measured([*command, "--fsdp", "--child", "two"], dict(os.environ))
            print(f"{arguments.size}, FSDP2 in 2 processes: {peak:.1f} GB in {seconds:.0f} s")
            return
        lines = []
        for child in CHILDREN:
            run = subprocess.run(
                [*command, "--child", child], stdout=subprocess.PIPE, text=True, check=False
            )
            found = run.stdout.strip().splitlines()
            if run.returncode not in (0, -signal.SIGKILL) or not found:
                raise SystemExit(f"{child} ended with {run.returncode} before it had measured")
            for phase, (own, mapped) in json.loads(found[-1]).items():
                lines.append([child, phase, f"{own:.2f}", f"{mapped:.2f}"])
                hand_over(Figure(f"{arguments.size}, {child}: {phase}", "GiB", own))
            print(f"{child}: measured", file=sys.stderr, flush=True)
    header = ("process", "phase", "GiB, own", "with files")
    print(f"{arguments.size}, patch {tuple(arguments.patch)}, batch 1; weights, gradients and")
    print(f"momentum are {4 * parameters / 2**30:.2f} GiB each ({parameters:,} parameters)\n")
    print(markdown_table(header, lines, text_columns=2))


if __name__ == "__main__":
    main()
