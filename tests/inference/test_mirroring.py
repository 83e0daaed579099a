"""Predictions in mirrored tiles, against networks whose answer to a mirror is known by formula."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.mirroring import mirroring_for
from tsfm_pipeline.inference.model import SegmentationModel, predict_scores
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.training_settings import AugmentationSettings, TrainingSettings

TABLE = LabelTable(
    targets={
        "spleen": 1,
        "kidney_left": 2,
        "kidney_right": 3,
        "upper_lobe_left": 4,
        "upper_lobe_right": 5,
        "lower_lobe_left": 6,
        "lower_lobe_right": 7,
        "middle_lobe_right": 8,
    },
    regions={
        "lung_left": ("upper_lobe_left", "lower_lobe_left"),
        "lung_right": ("lower_lobe_right", "upper_lobe_right"),
        "lung_of_three_right": ("upper_lobe_right", "middle_lobe_right", "lower_lobe_right"),
    },
)
KIDNEYS = ("kidney_left", "spleen", "kidney_right")
SHAPE = (6, 8, 10)


@dataclass
class Sided:
    """Takes a bright voxel for the right kidney where x is low, for the left one where it is high.

    Mirrored and with its sides exchanged it is the same network, exactly: what `left_right: swap`
    teaches. `sees_up` lets each voxel look at the one above it, which breaks that along z.
    """

    sees_up: bool = False
    calls: list[int] = field(default_factory=list)

    def __call__(self, tiles_BCDHW: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(tiles_BCDHW))
        bright = tiles_BCDHW[:, 0]
        if self.sees_up:
            bright = bright + bright.roll(1, 1)
        ramp = torch.arange(bright.shape[-1]) - (bright.shape[-1] - 1) / 2
        return torch.stack([bright * ramp, bright, bright * -ramp], 1)


def model_of(card, network, left_right, regions=KIDNEYS, axes=(0, 1, 2)) -> SegmentationModel:
    augmentation = AugmentationSettings(left_right=left_right, mirror_axes=axes)
    changes = {
        "table": TABLE,
        "regions": regions,
        "patch": SHAPE,
        "settings": TrainingSettings(augmentation=augmentation),
    }
    return SegmentationModel(network, card.model_copy(update=changes), torch.device("cpu"))


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)


def predicted(model, image, axes, regions=KIDNEYS):
    return predict_scores(model, image, "MR", regions, InferenceSettings(mirror_axes=axes))


def test_a_network_that_knows_the_mirror_predicts_the_same_in_it(card, image):
    network = Sided()
    model = model_of(card, network, "swap")
    plain = predicted(model, image, ())
    assert np.abs(plain[0] - plain[2]).max() > 0.5  # the kidneys differ, so exchanging them counts
    network.calls.clear()
    for axes, calls in (((2,), 2), ((0, 1, 2), 8)):
        np.testing.assert_allclose(predicted(model, image, axes), plain, atol=1e-6)
        assert len(network.calls) == calls
        network.calls.clear()
    # one kidney alone is answered for by the other one's channel
    alone = predicted(model, image, (2,), ("kidney_right",))
    np.testing.assert_allclose(alone[0], plain[2], atol=1e-6)


def test_mirrored_predictions_are_averaged_side_by_side(card, image):
    """Against the average written down in numpy."""
    found = predicted(model_of(card, Sided(sees_up=True), "swap"), image, (0, 2))
    ramp = np.arange(SHAPE[2]) - (SHAPE[2] - 1) / 2
    neighbours = [image[0] + np.roll(image[0], shift, 0) for shift in (1, -1)]
    for channel, weight in enumerate((ramp, 1, -ramp)):
        expected = np.mean([1 / (1 + np.exp(-bright * weight)) for bright in neighbours], axis=0)
        np.testing.assert_allclose(found[channel], expected, atol=1e-6)


def test_what_training_did_not_mirror_is_not_mirrored(card, image):
    """The axes asked for are a wish: as many passes are made as training allows."""
    for left_right, axes, passes in (
        ("keep", (0, 1, 2), 4),  # kidneys have sides: training left x out
        ("keep", (2,), 1),
        ("swap", (0, 2), 4),
        ("swap", (), 1),
    ):
        network = Sided(sees_up=True)
        found = predicted(model_of(card, network, left_right, axes=axes), image, (0, 1, 2))
        assert len(network.calls) == passes
        allowed = [axis for axis in (0, 1) if axis in axes]
        still = predicted(
            model_of(card, Sided(sees_up=True), left_right, axes=axes), image, allowed
        )
        np.testing.assert_allclose(found, still, atol=1e-6)


def test_the_other_side_of_a_region_is_that_of_all_its_targets(card):
    regions = ("lung_right", "spleen", "lung_left", "lung_of_three_right")
    model = model_of(card, Sided(), "swap", regions)
    assert mirroring_for(model.card, ("lung_left", "spleen", "lung_right")).regions == (
        "lung_right",
        "spleen",
        "lung_left",
    )
    # no left lung has a middle lobe: whoever asks for such a region gets no mirrored scan of it
    for wanted, axes in (((*regions[:3],), (0, 1, 2)), (regions, (0, 1)), (("spleen",), (0, 1, 2))):
        assert mirroring_for(model.card, wanted).axes == axes
    assert mirroring_for(model.card, regions).regions == regions


def test_without_sides_left_right_is_an_axis_like_others(card):
    for left_right in ("keep", "swap"):
        model = model_of(card, Sided(), left_right, ("spleen",))
        assert mirroring_for(model.card, ("spleen",)).axes == (0, 1, 2)


def test_only_mirrored_predictions_are_made_again() -> None:
    """Before sides were exchanged, these four decided the labels."""
    plain = InferenceSettings(tile_batch=3).deciding()
    assert plain == {"step": 0.5, "mirror_axes": [], "skip_air": False, "postprocessing_cases": 0}
    mirrored = InferenceSettings(mirror_axes=(0, 2)).deciding()
    assert mirrored != plain | {"mirror_axes": [0, 2]}


def test_the_paper_scale_mirrors_along_what_training_mirrored(repository):
    from tsfm_pipeline.parameters import load_parameters

    parameters = load_parameters(str(repository / "conf"), "paper")
    training = parameters.experiments.pretrain.training.augmentation
    assert parameters.inference.mirror_axes == training.mirror_axes == (0, 1, 2)
