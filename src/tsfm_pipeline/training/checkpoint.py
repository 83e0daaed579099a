"""Weights, states and metrics of a training in its model folder."""

import json
import logging
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from tsfm_pipeline.files import write_atomically, write_text
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.training.task import TrainingError

logger = logging.getLogger(__name__)

ALMOST_FULL_MB = 64
"""A file system with less has probably refused a file for lack of room."""


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights as safetensors, from whatever device and memory format."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with written(path):
        write_atomically(path, lambda temporary: save_file(content, temporary))


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Tell in one line what keeps a file from being written; safetensors and torch say little."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        free = shutil.disk_usage(path.parent).free / 2**20
        full = "disk full? " if free < ALMOST_FULL_MB else ""
        raise TrainingError(
            f"{path} can't be written: {full}{free:.0f} MB are free in {path.parent}"
            f" ({str(error).splitlines()[0]}); make room or correct its permissions, and the same"
            " command goes on from the last state"
        ) from error


class StateWriter:
    """Writes training states from a thread of its own; the one before stays as a fallback.

    The caller hands over what nobody else changes until it is written: a copy, or its own tensors,
    and then it waits.
    """

    def __init__(self, folder: ModelFolder) -> None:
        self._folder = folder
        self._executor = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def write(self, state: Mapping[str, Any]) -> None:
        """Start writing a state: tensors on the CPU and plain Python values only."""
        self.wait()
        self._writing = self._executor.submit(_write_state, self._folder, dict(state))

    def wait(self) -> None:
        """Wait until the last state is on disk; raise what went wrong (TrainingError)."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


def _write_state(folder: ModelFolder, state: dict[str, Any]) -> None:
    new = folder.state.with_name(f".{folder.state.name}.new")
    with written(folder.state):
        write_atomically(new, lambda temporary: torch.save(state, temporary))
    if folder.state.exists():
        folder.state.replace(folder.previous_state)
    new.replace(folder.state)


def load_state(folder: ModelFolder) -> dict[str, Any] | None:
    """Return the training state on the CPU, None if there is none.

    A state that can't be read is passed over, with a warning, for the one saved before it.

    Raises:
        TrainingError: neither can be read.
    """
    problems = []
    for path in (folder.state, folder.previous_state):
        if not path.exists():
            continue
        try:
            state = _read_state(path)
        except Exception as error:  # torch raises many kinds for a damaged file
            problems.append(f"{path} can't be read ({error})")
            continue
        if problems:
            # else the next state saved would push out the good one
            with suppress(FileNotFoundError):  # another process of the group was first
                folder.state.replace(folder.damaged_state)
            logger.warning(
                "%s; going on from %s: epoch %d, step %d",
                problems[0],
                path.name,
                state["epoch"],
                state["step"],
            )
        return state
    if problems:
        raise TrainingError("; ".join(problems) + "; remove them to train from the start")
    return None


def has_state(folder: ModelFolder) -> bool:
    """Tell whether a folder holds a training to go on with."""
    return folder.state.exists() or folder.previous_state.exists()


def _read_state(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:  # torch itself does not check the sums it writes
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"wrong checksum of {damaged}")
    state: dict[str, Any] = torch.load(
        path,
        map_location="cpu",
        weights_only=True,
        mmap=True,  # every process of a group reads it: together they hold one copy
    )
    return state


class MetricsLog:
    """One JSON line per epoch. Lines from `epoch` on are dropped when it opens.

    So are damaged ones, as a killed process or a full disk leaves them, with a warning.
    """

    def __init__(self, path: Path, epoch: int) -> None:
        self._path = path
        text = self._path.read_text("utf-8", "replace") if self._path.exists() else ""
        lines = text.splitlines()
        sound = [line for line in lines if _is_sound(line)]
        if len(sound) < len(lines):
            damaged = next(line for line in lines if not _is_sound(line))
            logger.warning(
                "%s: %d damaged line(s) dropped, the first is %r; the other %d are kept",
                self._path,
                len(lines) - len(sound),
                damaged[:80],
                len(sound),
            )
        kept = [line for line in sound if json.loads(line)["epoch"] < epoch]
        if len(lines) < epoch:
            logger.warning(
                "%s has %d of the %d epochs that are trained; the curve lacks the others",
                self._path,
                len(kept),
                epoch,
            )
        with written(self._path):
            write_text(self._path, "".join(f"{line}\n" for line in kept))

    def append(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add an epoch's line."""
        with written(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, **metrics}) + "\n")


def _is_sound(line: str) -> bool:
    try:
        return isinstance(json.loads(line)["epoch"], int)
    except (ValueError, TypeError, KeyError):
        return False
