"""A trained network with what is needed to use it.

Shape letters: C image channels, K regions, Z Y X voxels.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tsfm_pipeline.files import file_digest
from tsfm_pipeline.imaging.intensity import AIR_HU, normalise_ct
from tsfm_pipeline.inference.mirroring import mirroring_for
from tsfm_pipeline.inference.postprocessing import PostprocessingRule
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.inference.sliding_window import predict_tiles
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelError, ModelFolder, Weights
from tsfm_pipeline.network.regions import RegionsOfClasses, class_members

logger = logging.getLogger(__name__)


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


def load_model(
    folder: ModelFolder,
    weights: Weights = "best",
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> SegmentationModel:
    """Load a model folder: its card, some weights and, if there is one, their rule.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from safetensors.torch import save_file
    >>> from tsfm_pipeline.imaging.labels import LabelTable
    >>> from tsfm_pipeline.model.training_settings import TrainingSettings
    >>> from tsfm_pipeline.network.sizes import SIZES
    >>> card = ModelCard(
    ...     name="untrained",
    ...     settings=TrainingSettings(),
    ...     training=("msd_liver/liver_0",),
    ...     validation=(),
    ...     table=LabelTable(targets={"liver": 5}),
    ...     regions=("liver",),
    ...     network=SIZES["tiny"],
    ...     in_channels=1,
    ...     patch=(16, 16, 32),
    ...     ct_statistics=None,
    ...     initial_weights=None,
    ...     pool_digest="",
    ... )
    >>> with tempfile.TemporaryDirectory() as path:  # what training leaves, in short
    ...     folder = ModelFolder(Path(path))
    ...     folder.write_card(card)
    ...     save_file(card.build_network().state_dict(), folder.weights("best"))
    ...     model = load_model(folder, "best", "cpu")
    >>> image = np.zeros((1, 16, 16, 32), np.float32)
    >>> predict_scores(model, image, "MR", ["liver"], InferenceSettings()).shape
    (1, 16, 16, 32)

    Args:
        folder: a released model, or what training left.
        weights: which of them.
        device: where the network goes; "auto" takes the GPU if there is one.

    Raises:
        ModelError: a file is missing, can't be read, or does not fit the other; no such device.
            A rule of other weights is left out with a warning.
    """
    card, path = folder.card, folder.weights(weights)
    try:
        folder.check(path)
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"model folder {folder.path} has no usable {path.name} ({error});"
            " train the model, or name the folder that holds both card and weights"
        ) from error
    network: nn.Module = card.build_network()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{path} does not fit {folder.card_path}: {error}") from error
    if card.settings.loss == "softmax":
        network = RegionsOfClasses(network, class_members(card.table, card.regions))
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ModelError("device is cuda, but torch sees no GPU; set it to auto or cpu")
    chosen = torch.device("cuda" if available and device != "cpu" else "cpu")
    try:
        if folder.rule(weights).exists():
            folder.check(folder.rule(weights))
        rule = PostprocessingRule.read(folder.rule(weights))
    except ValidationError as error:
        raise ModelError(
            f"{folder.rule(weights)} is no postprocessing rule"
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
        settings: how tiles are laid and averaged; an axis that training did not mirror is left out.

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
    mirroring = mirroring_for(model.card, regions)
    axes = tuple(axis for axis in settings.mirror_axes if axis in mirroring.axes)
    return predict_tiles(
        model.network,
        model.normalise(image_CZYX, modality),
        patch=model.card.patch,
        channels=[model.card.regions.index(region) for region in regions],
        other_sides=[model.card.regions.index(region) for region in mirroring.regions],
        settings=settings.model_copy(update={"mirror_axes": axes}),
        device=model.device,
        air=model.air(modality),
    )
