"""Files of a model folder, each written to a temporary name, flushed and renamed.

A file under its final name is therefore always whole, whatever kills the process.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import save
from torch import Tensor

from tsfm_pipeline.training.task import TrainingError

STATE = "state.pt"
METRICS = "metrics.jsonl"
FINAL = "final.safetensors"
BEST = "best.safetensors"


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, bring it to disk, and rename it."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights as safetensors, from whatever device and memory format."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_atomically(path, lambda file: file.write(save(content)))


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the training state: tensors and plain Python values only."""
    write_atomically(folder / STATE, lambda file: torch.save(dict(state), file))


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the training state on the CPU, None if there is none.

    Raises:
        TrainingError: the file can't be read.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise TrainingError(
            f"{path} can't be read ({error}); remove it to train from the start"
        ) from error
    return state


def file_digest(path: Path) -> str:
    """Return a digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


class MetricsLog:
    """metrics.jsonl: one line per epoch. Lines from `epoch` on are dropped when it opens."""

    def __init__(self, folder: Path, epoch: int) -> None:
        self._path = folder / METRICS
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if json.loads(line)["epoch"] < epoch]
        write_text(self._path, "".join(f"{line}\n" for line in kept))

    def append(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add an epoch's line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, **metrics}) + "\n")
