"""One model or several that answer as one: their probabilities are averaged.

Shape letters: K regions, Z Y X voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.resampling import resample_scores
from tsfm_pipeline.inference.export import OriginalGrid, export_case
from tsfm_pipeline.inference.mirroring import mirroring_for
from tsfm_pipeline.inference.model import SegmentationModel, load_model, predict_scores
from tsfm_pipeline.inference.postprocessing import postprocess
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.scans.loading import LoadedScan, known_modalities


@dataclass(frozen=True)
class Ensemble:
    """Loaded models that take the same scans and know the same regions, see `check_agreement`."""

    models: tuple[SegmentationModel, ...]

    def __post_init__(self) -> None:
        check_agreement([model.card for model in self.models])

    @property
    def card(self) -> ModelCard:
        """The first model's card; what preparing and painting takes of it is that of all."""
        return self.models[0].card

    def predict(
        self, loaded: LoadedScan, regions: Sequence[str], settings: InferenceSettings
    ) -> NDArray[np.floating]:
        """Return the mean probabilities (K, Z, Y, X) of some regions on the prepared grid.

        Raises:
            ModelError, PlacementError: see `inference.model.predict_scores`.
        """
        image_CZYX, modality = loaded.prepared_CZYX, loaded.modality
        first, *others = self.models
        mean_KZYX = predict_scores(first, image_CZYX, modality, regions, settings)
        if others:
            # shares are summed, not sums shared: half precision is finest near 0
            mean_KZYX *= 1 / len(self.models)
        for model in others:
            scores_KZYX = predict_scores(model, image_CZYX, modality, regions, settings)
            scores_KZYX *= 1 / len(self.models)
            mean_KZYX += scores_KZYX
        return mean_KZYX

    def paint(
        self, scores_KZYX: NDArray[np.floating], loaded: LoadedScan, regions: Sequence[str]
    ) -> NDArray[np.uint8]:
        """Return label integers (z, y, x) on the scan's whole canonical grid.

        A model's postprocessing rule was decided for its weights alone: an ensemble has none.
        """
        table = self.card.table
        labels_ZYX = export_case(scores_KZYX, loaded.grid, regions, table)
        rule = self.models[0].postprocessing
        if rule is not None and len(self.models) == 1:
            postprocess(labels_ZYX, rule, regions, table)
        return labels_ZYX


def probability_map(scores_ZYX: NDArray[np.floating], grid: OriginalGrid) -> NDArray[np.float32]:
    """Bring a region's probabilities to the scan's whole canonical grid, as painting does.

    Returns:
        Probabilities (z, y, x), 0 outside the crop.
    """
    map_ZYX = np.zeros(grid.uncropped_shape, np.float32)
    z, y, x = (
        slice(low, low + size) for low, size in zip(grid.crop_lower, grid.crop_shape, strict=True)
    )
    crop_ZYX = map_ZYX[z, y, x]
    for box, part_ZYX in resample_scores(
        scores_ZYX, grid.crop_shape, grid.spacing, grid.uncropped_spacing, above=0.0
    ):
        crop_ZYX[box] = part_ZYX
    return map_ZYX


def open_models(
    folders: Sequence[ModelFolder], device: Literal["auto", "cpu", "cuda"] = "auto"
) -> Ensemble:
    """Load model folders, released or as training left them.

    Raises:
        ModelError: one can't be used, or they do not agree.
    """
    check_agreement([folder.card for folder in folders])
    return Ensemble(tuple(load_model(one, one.used_weights(), device) for one in folders))


def check_agreement(cards: Sequence[ModelCard]) -> None:
    """Check that models can be averaged: same regions and integers, spacing, channels, modalities.

    Patch, network and CT statistics may differ: each model has its own tiles and normalisation.

    Raises:
        ModelError: naming what differs.
    """
    first = cards[0]
    for card in cards[1:]:
        for what, mine, other in (
            ("regions", _painted(first), _painted(card)),
            ("spacing (z, y, x) in mm", first.target_spacing, card.target_spacing),
            ("image channels", first.in_channels, card.in_channels),
            ("modalities", known_modalities(first), known_modalities(card)),
        ):
            if mine != other:
                raise ModelError(
                    f"models {first.name} and {card.name} can't be averaged: their {what} are"
                    f" {mine} and {other}; name models of one kind, such as the folds of a training"
                )


def common_mirror_axes(cards: Sequence[ModelCard]) -> tuple[Literal[0, 1, 2], ...]:
    """Return the axes along which a mirrored scan may be predicted by all of some models.

    Raises:
        ModelError: there is none.
    """
    allowed = [mirror_axes(card) for card in cards]
    common = tuple(axis for axis in allowed[0] if all(axis in axes for axes in allowed))
    if not common:
        raise ModelError("the models have no mirrored axis in common; leave out --mirror")
    return common


def mirror_axes(card: ModelCard) -> tuple[Literal[0, 1, 2], ...]:
    """Return the axes along which a mirrored scan may be predicted and averaged in.

    See `inference.mirroring.mirroring_for`, with all regions of the model.

    Raises:
        ModelError: there is none.
    """
    axes = mirroring_for(card, card.regions).axes
    if not axes:
        trained = card.settings.augmentation.mirror_axes
        why = "left-right alone, and some targets have a side" if trained else "never"
        raise ModelError(
            f"the training of model {card.name} mirrored scans {why}; leave out --mirror"
        )
    return axes


def _painted(card: ModelCard) -> dict[str, tuple[int, ...]]:
    return {name: card.table.region_ids(name) for name in sorted(card.regions)}
