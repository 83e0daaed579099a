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
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.model.folder import WEIGHTS_SUFFIX, ModelError, ModelFolder
from tsfm_pipeline.model.published.checkpoint import PublishedWeights, read_published
from tsfm_pipeline.model.published.reading import PublishedError, describe
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
        action: loaded (equal), adapted (position embedding interpolated, first convolution brought
            to another number of channels, or 0 for a bias that the publisher's layer is without) or
            initialised (fresh).
        from_name: its name in a checkpoint that others have published; None in files of ours, and
            where the file lacks it.
        from_shape: shape in the file; None where the file lacks it.
        to_shape: shape in the network.
    """

    name: str
    action: Literal["loaded", "adapted", "initialised"]
    from_name: str | None = None
    from_shape: tuple[int, ...] | None
    to_shape: tuple[int, ...]


def transfer_weights(network: SegmentationNetwork, path: Path) -> list[LoadedWeight]:
    """Copy weights by name and shape into a network; heads always start fresh.

    Args:
        network: what they are copied into.
        path: weights of ours (`.safetensors`), or a checkpoint that others have published
            (docs/checkpoints.md), which has to fill the network but for its heads.

    Raises:
        TrainingError: the file can't be read, nothing in it fits, or it is a published checkpoint
            of another network or size.
    """
    published = None
    if path.suffix == WEIGHTS_SUFFIX:
        try:
            ModelFolder(path.parent).check(path)
            weights = load_file(path)
        except (OSError, SafetensorError, ModelError) as error:
            raise TrainingError(_unreadable(path, error)) from error
    else:
        published = _read_published(path)
        weights = published.weights
        _check_family(network, published, path)
        _check_size(network, published, path)
    names = {} if published is None else published.names
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
                action=_action(given, fitted, published is not None and name not in names),
                from_name=names.get(name),
                from_shape=None if given is None else tuple(given.shape),
                to_shape=tuple(parameter.shape),
            )
        )
    counts = Counter(weight.action for weight in table)
    unused = sorted(weights.keys() - {weight.name for weight in table})
    if not counts["loaded"]:
        raise TrainingError(_nothing_fits(path))
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


def check_weights(network: SegmentationNetwork, path: Path, any_size: bool = False) -> None:
    """Refuse what `transfer_weights` would, by names and shapes alone.

    Args:
        network: it may lie on the meta device.
        path: as of `transfer_weights`.
        any_size: whether the network's size is not known yet.

    Raises:
        TrainingError: as of `transfer_weights`. Values aren't read, so damaged ones are not seen.
    """
    if path.suffix != WEIGHTS_SUFFIX:
        published = _read_published(path)
        _check_family(network, published, path)
        if not any_size:
            _check_size(network, published, path)
        return
    try:
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise TrainingError(_unreadable(path, error)) from error
    ours = network.state_dict().items()
    fits = any(shapes.get(n) == tuple(t.shape) for n, t in ours if not n.startswith(HEADS))
    if not fits and not any_size:
        raise TrainingError(_nothing_fits(path))


def weights_json(table: Sequence[LoadedWeight]) -> str:
    """Return the table as JSON text, one tensor a line."""
    rows = ",\n".join(json.dumps(weight.model_dump(mode="json")) for weight in table)
    return f"[\n{rows}\n]\n"


def adapt_channels(weight_OIDHW: Tensor, channels: int) -> Tensor:
    """Bring a convolution to another number of input channels, so that the response is kept.

    For more channels, its own are repeated in turn and divided: channel j takes the weights of
    channel j modulo the old count, times old / new count. For fewer, channel j takes the sum over
    all whose number modulo the new count is j. So an image of the smaller number of channels and
    the same repeated in turn give one response (when repeating, exactly where one count divides
    the other).
    """
    old = weight_OIDHW.shape[1]
    if channels < old:
        return torch.stack([weight_OIDHW[:, j::channels].sum(1) for j in range(channels)], 1)
    chosen = torch.arange(channels) % old
    return weight_OIDHW[:, chosen] * (old / channels)


def _read_published(path: Path) -> PublishedWeights:
    try:
        return read_published(path)
    except PublishedError as error:
        raise TrainingError(f"initial weights {error}") from error


def _check_family(network: SegmentationNetwork, published: PublishedWeights, path: Path) -> None:
    """Refuse a published checkpoint of another network."""
    family = published.family
    if not isinstance(network, family.network_class):
        raise TrainingError(
            f"initial weights {path} are a checkpoint of {family.title}, which begins with"
            f" {_first(published)}; this network is {type(network).__name__}, which begins with"
            f" {describe(network.state_dict())}; set `network` to {family.network}"
        )


def _check_size(network: SegmentationNetwork, published: PublishedWeights, path: Path) -> None:
    """Refuse a published checkpoint of another size of this network."""
    family, weights = published.family, published.weights
    ours = network.state_dict()
    for name, parameter in ours.items():
        given = weights.get(name)
        if name.startswith(HEADS) or (given is None and not family.whole):
            continue
        if given is None or _fit(given, parameter, False, name in network.first_layers) is None:
            found = "absent" if given is None else f"{tuple(given.shape)}"
            raise TrainingError(
                f"initial weights {path} are a checkpoint of {family.title} of another size: it"
                f" begins with {_first(published)}, this network with {describe(ours)}; the first"
                f" that does not fit is {published.names.get(name, name)}, {found} in the file and"
                f" {tuple(parameter.shape)} here; set `size` (and, for a U-Net, `patch`) to the"
                " checkpoint's"
            )


def _unreadable(path: Path, error: Exception) -> str:
    return f"initial weights {path} can't be read: {error}"


def _nothing_fits(path: Path) -> str:
    return f"initial weights {path}: no tensor fits this network; is it of another size?"


def _first(published: PublishedWeights) -> str:
    """Name the first tensors of a checkpoint as its publisher does."""
    return describe({their: published.weights[our] for our, their in published.names.items()})


def _fit(given: Tensor, parameter: Tensor, is_position: bool, is_first: bool) -> Tensor | None:
    """Return the file's tensor in the network's shape, None if it can't be brought to it."""
    if is_position and given.ndim == 5 and given.shape[1] == parameter.shape[1]:
        grid = parameter.shape[2:]
        given = resize_position(given, (grid[0], grid[1], grid[2]))
    elif is_first and given.ndim == 5 and given.shape[1] != parameter.shape[1]:
        given = adapt_channels(given, parameter.shape[1])
    return given if given.shape == parameter.shape else None


def _action(
    given: Tensor | None, fitted: Tensor | None, made_up: bool
) -> Literal["loaded", "adapted", "initialised"]:
    if given is None or fitted is None:
        return "initialised"
    return "adapted" if made_up or given.shape != fitted.shape else "loaded"


def _head(weight: LoadedWeight) -> bool:
    return weight.name.startswith(HEADS)


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
