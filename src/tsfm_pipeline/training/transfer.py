"""Start a network from another one's weights, and say for each tensor what happened.

Paper section 2.3: CNN weights are kept, the transformer is adjusted to the other grid.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.network.blocks import resize_position
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.training.task import TrainingError

logger = logging.getLogger(__name__)

HEADS = "heads."
POSITION = "bottleneck.position"


class LoadedWeight(FrozenModel):
    """What became of one tensor of the network.

    Attributes:
        name: of the parameter.
        action: loaded (equal), adapted (position embedding interpolated, or first convolution
            brought to another number of channels) or initialised (fresh).
        from_shape: shape in the file; None where the file lacks it.
        to_shape: shape in the network.
    """

    name: str
    action: Literal["loaded", "adapted", "initialised"]
    from_shape: tuple[int, ...] | None
    to_shape: tuple[int, ...]


def transfer_weights(network: SegmentationNetwork, path: Path) -> list[LoadedWeight]:
    """Copy weights by name and shape into a network; heads always start fresh.

    Raises:
        TrainingError: the file can't be read, or nothing in it fits.
    """
    try:
        ModelFolder(path.parent).check(path)
        weights = load_file(path)
    except (OSError, SafetensorError, ModelError) as error:
        raise TrainingError(f"initial weights {path} can't be read: {error}") from error
    table = []
    for name, parameter in network.state_dict().items():
        given = weights.get(name)
        fitted = None
        if given is not None and not name.startswith(HEADS):
            fitted = _fit(given, parameter, name == POSITION, name in network.first_layers)
        if fitted is not None:
            parameter.copy_(fitted)
        table.append(
            LoadedWeight(
                name=name,
                action=_action(given, fitted),
                from_shape=None if given is None else tuple(given.shape),
                to_shape=tuple(parameter.shape),
            )
        )
    counts = Counter(weight.action for weight in table)
    unused = sorted(weights.keys() - {weight.name for weight in table})
    if not counts["loaded"]:
        raise TrainingError(
            f"initial weights {path}: no tensor fits this network; is it of another size?"
        )
    logger.info(
        "Weights of %s: %d loaded, %d adapted (%s), %d initialised (%s), %d unused (%s)",
        path,
        counts["loaded"],
        counts["adapted"],
        _names(weight.name for weight in table if weight.action == "adapted"),
        counts["initialised"],
        _names(weight.name for weight in table if weight.action == "initialised"),
        len(unused),
        _names(unused),
    )
    fresh = [weight for weight in table if weight.action == "initialised" and not _head(weight)]
    if fresh:
        logger.warning(
            "%d of %d tensors below the heads start fresh, %s first (%s in the file, %s here): if"
            " %s is of another size, set `size` to it",
            len(fresh),
            sum(not _head(weight) for weight in table),
            fresh[0].name,
            fresh[0].from_shape or "absent",
            fresh[0].to_shape,
            path,
        )
    return table


def weights_json(table: Sequence[LoadedWeight]) -> str:
    """Return the table as JSON text, one tensor a line."""
    rows = ",\n".join(json.dumps(weight.model_dump(mode="json")) for weight in table)
    return f"[\n{rows}\n]\n"


def adapt_channels(weight_OIDHW: Tensor, channels: int) -> Tensor:
    """Repeat a convolution's input channels in turn and divide, so that the response is kept.

    Channel j takes the weights of channel j modulo the old count, times old / new count: an image
    repeated over the new channels gives what it gave before (exactly, where one count divides the
    other).
    """
    old = weight_OIDHW.shape[1]
    chosen = torch.arange(channels) % old
    return weight_OIDHW[:, chosen] * (old / channels)


def _fit(given: Tensor, parameter: Tensor, is_position: bool, is_first: bool) -> Tensor | None:
    """Return the file's tensor in the network's shape, None if it can't be brought to it."""
    if is_position and given.ndim == 5 and given.shape[1] == parameter.shape[1]:
        grid = parameter.shape[2:]
        given = resize_position(given, (grid[0], grid[1], grid[2]))
    elif is_first and given.ndim == 5 and given.shape[1] != parameter.shape[1]:
        given = adapt_channels(given, parameter.shape[1])
    return given if given.shape == parameter.shape else None


def _action(
    given: Tensor | None, fitted: Tensor | None
) -> Literal["loaded", "adapted", "initialised"]:
    if given is None or fitted is None:
        return "initialised"
    return "loaded" if given.shape == fitted.shape else "adapted"


def _head(weight: LoadedWeight) -> bool:
    return weight.name.startswith(HEADS)


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
