"""Read a torch checkpoint without letting anything in it run."""

import argparse
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from torch import Tensor

STATES = ("state_dict", "network_weights", "model_state_dict")
"""Keys of the weights: nnU-Net v1's and MONAI's, nnU-Net v2's, SAM-Med3D's."""

_PLAIN: list[Any] = [
    np.dtype,
    np.ndarray,
    multiarray.scalar,
    multiarray._reconstruct,
    (multiarray.scalar, "numpy.core.multiarray.scalar"),  # written with numpy 1
    (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
    argparse.Namespace,
]
"""What the known files hold besides tensors and Python's own types: curves as numpy numbers
(nnU-Net), and the command line (SAM-Med3D). All are mere values."""


class PublishedError(ValueError):
    """A checkpoint that can't be read, or is not what it should be."""


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by its own names, without the `module.` of DDP.

    `torch.load(weights_only=True)`: what would need code to be run is refused.

    Raises:
        PublishedError: the file can't be read so, or holds no named tensors.
    """
    if not path.is_file():
        raise PublishedError(f"{path} is not there")
    try:
        with torch.serialization.safe_globals(_PLAIN):
            # mapped: optimiser states, twice the weights, stay on disk
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        raise PublishedError(_refusal(path, error)) from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise PublishedError(
            f"{path} is no checkpoint of torch, or is damaged"
            f" ({type(error).__name__}: {str(error).splitlines()[0]}); get it again"
        ) from error
    found = content if isinstance(content, dict) else {}
    state = next((found[key] for key in STATES if isinstance(found.get(key), dict)), found)
    tensors = {
        str(name).removeprefix("module."): tensor
        for name, tensor in state.items()
        if isinstance(tensor, Tensor)
    }
    if not tensors:
        keys = ", ".join(map(str, list(found)[:5])) or "none"
        raise PublishedError(
            f"{path} holds no named tensors, neither by itself nor in {', '.join(STATES)} (its"
            f" first keys: {keys}); name a checkpoint"
        )
    return tensors


def describe(tensors: Mapping[str, Tensor]) -> str:
    """Name the first two tensors with their shapes."""
    return ", ".join(f"{name} {tuple(tensors[name].shape)}" for name in list(tensors)[:2])


def _refusal(path: Path, error: pickle.UnpicklingError) -> str:
    """Say what in a file can't be read, and how to save its weights alone."""
    unknown = "objects other than tensors, numbers and text"
    if zipfile.is_zipfile(path):
        with torch.serialization.safe_globals(_PLAIN):
            found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        unknown = ", ".join(sorted(found)[:3]) or unknown
    else:
        unknown += f" ({str(error).splitlines()[0]})"
    code = (
        f"import torch; c = torch.load('{path}', 'cpu', weights_only=False); torch.save("
        f"{{'state_dict': next(c[k] for k in {STATES} if k in c)}}, '{path}.weights.pt')"
    )
    return (
        f"{path} holds {unknown}, which could run code when read, so it is not read. If you trust"
        f' who made it, save its weights alone, and name that file: python -c "{code}"'
    )
