"""A trained network with what is needed to use it.

Shape letters: C image channels, K regions, Z Y X voxels.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tsfm_pipeline.files import file_digest
from tsfm_pipeline.imaging.intensity import AIR_HU, normalise_ct
from tsfm_pipeline.inference.postprocessing import PostprocessingRule
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.inference.sliding_window import predict_tiles
from tsfm_pipeline.training.losses import class_members, region_log_odds
from tsfm_pipeline.training.model_card import ModelCard

logger = logging.getLogger(__name__)


class ModelError(ValueError):
    """A model folder that can't be used, or a case that the model was not trained for."""


@dataclass(frozen=True)
class SegmentationModel:
    """A network ready to predict, and its card.

    Attributes:
        network: in evaluation mode, on `device`; (B, C, D, H, W) to logits (B, K, D, H, W).
        card: regions, patch and intensity statistics.
        device: where the network lies.
        postprocessing: largest-component rule decided for these weights; None where there is none.
    """

    network: nn.Module
    card: ModelCard
    device: torch.device
    postprocessing: PostprocessingRule | None = None

    def normalise(
        self, image_CZYX: NDArray[np.float32], modality: Literal["CT", "MR"]
    ) -> NDArray[np.float32]:
        """Bring a stored image to what the network was trained on.

        CT in HU is normalised with the training cases' statistics; MR is stored z-scored.

        Raises:
            ModelError: a CT image for a model that was trained on MR alone.
        """
        if modality == "MR":
            return image_CZYX
        if self.card.ct_statistics is None:
            raise ModelError(
                f"model {self.card.name} was trained on MR alone and has no CT statistics;"
                " take a model that was trained on CT"
            )
        return normalise_ct(image_CZYX, self.card.ct_statistics)

    def regions_for(self, targets: Sequence[str]) -> list[str]:
        """Return, in table order, the regions it predicts of a case that annotates `targets`."""
        annotated = self.card.table.regions_annotated_by(targets)
        return [region for region in annotated if region in self.card.regions]

    def air(self, modality: Literal["CT", "MR"]) -> float:
        """Return the normalised intensity up to which a voxel is air; MR has no such scale."""
        if modality == "MR":
            return -math.inf
        return float(self.normalise(np.full(1, AIR_HU, np.float32), modality)[0])


class RegionsOfClasses(nn.Module):
    """A network trained with a softmax over exclusive targets, seen as one that predicts regions.

    Args:
        network: gives one logit per target; background's is 0.
        members_RK: which targets make up each region, bool.
    """

    def __init__(self, network: nn.Module, members_RK: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("members_RK", members_RK)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Return the log-odds (B, regions, D, H, W) of each region's summed probability."""
        return region_log_odds(self.network(x_BCDHW), self.get_buffer("members_RK"))


def load_model(
    folder: Path,
    weights: Literal["best", "final"] = "best",
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> SegmentationModel:
    """Load a model folder: `model.json`, `<weights>.safetensors` and, if there, their rule.

    Raises:
        ModelError: a file is missing, can't be read, or does not fit the other; no such device.
            A rule of other weights is left out with a warning.
    """
    path = folder / f"{weights}.safetensors"
    try:
        card = ModelCard.read(folder)
        state = load_file(path)
    except (OSError, SafetensorError, ValidationError) as error:
        raise ModelError(
            f"model folder {folder} has no usable model.json and {path.name} ({error});"
            " train the model, or name the folder that holds both"
        ) from error
    network: nn.Module = card.build_network()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{path} does not fit {folder / 'model.json'}: {error}") from error
    if card.settings.loss == "softmax":
        network = RegionsOfClasses(network, class_members(card.table, card.regions))
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ModelError("device is cuda, but torch sees no GPU; set it to auto or cpu")
    chosen = torch.device("cuda" if available and device != "cpu" else "cpu")
    try:
        rule = PostprocessingRule.read(folder, weights)
    except ValidationError as error:
        raise ModelError(
            f"{PostprocessingRule.path(folder, weights)} is no postprocessing rule"
            f" ({' '.join(str(error).split())[:200]}); remove it to predict without one"
        ) from error
    if rule is not None and rule.weights_digest != file_digest(path):
        logger.warning("%s: the postprocessing rule is of other weights; left out", path)
        rule = None
    return SegmentationModel(network.eval().to(chosen), card, chosen, rule)


def predict_scores(
    model: SegmentationModel,
    image_CZYX: NDArray[np.float32],
    modality: Literal["CT", "MR"],
    regions: Sequence[str],
    settings: InferenceSettings,
) -> NDArray[np.floating]:
    """Predict the probabilities of some regions on the image's own grid.

    Args:
        model: the network and its card.
        image_CZYX: as the store holds it, at the model's spacing: HU for CT, z-scores for MR.
        modality: CT or MR.
        regions: those wanted, for instance what the case's dataset annotates; memory is used for
            these only.
        settings: how tiles are laid and averaged.

    Returns:
        Probabilities (K, Z, Y, X) in the order of `regions`; see `predict_tiles`.

    Raises:
        ModelError: the image has another number of channels, a region that the model lacks, or a
            modality that it was not trained on.
        PlacementError: the probabilities fit into no memory.
    """
    if len(image_CZYX) != model.card.in_channels:
        raise ModelError(
            f"model {model.card.name} takes {model.card.in_channels} image channel(s), not"
            f" {len(image_CZYX)}"
        )
    lacking = [region for region in regions if region not in model.card.regions]
    if lacking:
        raise ModelError(
            f"model {model.card.name} does not predict {lacking}; it has {list(model.card.regions)}"
        )
    return predict_tiles(
        model.network,
        model.normalise(image_CZYX, modality),
        patch=model.card.patch,
        channels=[model.card.regions.index(region) for region in regions],
        settings=settings,
        device=model.device,
        air=model.air(modality),
    )
