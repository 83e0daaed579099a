"""The Python call: what it takes, and what it gives back."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from tests.scans.conftest import body, write_model
from tests.scans.test_run import marked_scan
from tests.scans.thresholds import threshold_model
from tsfm_pipeline.imaging.volume import read_image
from tsfm_pipeline.inference.model import SegmentationModel
from tsfm_pipeline.model.folder import ModelError
from tsfm_pipeline.scans.ensemble import Ensemble
from tsfm_pipeline.scans.segment import segment


@pytest.mark.parametrize("way", ["path", "nibabel", "nibabel in memory", "volume", "SimpleITK"])
def test_every_kind_of_image_gives_the_same_segmentation(way, tmp_path):
    image, values = marked_scan()
    path = tmp_path / "scan.nii.gz"
    sitk.WriteImage(image, str(path))
    stored = nibabel.load(path)
    given = {
        "path": path,
        "nibabel": stored,
        "nibabel in memory": nibabel.Nifti1Image(stored.get_fdata(), stored.affine),
        "volume": read_image([path]),
        "SimpleITK": image,
    }[way]
    found = segment(given, threshold_model(tmp_path / "model"))
    expected = np.select([values == 800, values == 400, values == -1000], [25, 5, 1], 0)
    np.testing.assert_array_equal(found.array, expected)
    np.testing.assert_array_equal(found.mask("liver"), values >= 400)
    # geometry, judged by each library's own images
    for ask in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(found.labels, ask)() == pytest.approx(getattr(image, ask)(), abs=1e-5)
    np.testing.assert_allclose(found.nifti.affine, stored.affine, atol=1e-5)
    np.testing.assert_array_equal(found.nifti.get_fdata(), expected.transpose(2, 1, 0))
    assert found.geometry.spacing == pytest.approx((3.0, 1.5, 2.0))


def test_statistics_are_those_of_the_voxels(tmp_path):
    image = body()
    values = sitk.GetArrayFromImage(image).astype(float)
    values[5:9, 8:14, 6:12] = np.random.default_rng(1).normal(450, 40, (4, 6, 6)).clip(310, 590)
    given = sitk.GetImageFromArray(values)
    rows = segment(given, threshold_model(tmp_path / "model")).volumes.set_index("target")
    inside = values[values > 300]
    liver = rows.loc["liver"]
    assert liver["mean_intensity"] == pytest.approx(inside.mean(), abs=0.01)
    assert liver["sd_intensity"] == pytest.approx(inside.std(), abs=0.01)
    for percent in (5, 25, 50, 75, 95):
        expected = np.percentile(inside, percent)
        assert liver[f"p{percent}_intensity"] == pytest.approx(expected, abs=0.01)
    assert np.isnan(rows.loc["liver_tumor", "p50_intensity"])


class Constant(torch.nn.Module):
    """The same probability everywhere, for liver_tumor, spleen and liver."""

    def __init__(self, *probabilities):
        super().__init__()
        self.logits = torch.logit(torch.tensor(probabilities))

    def forward(self, tiles_BCDHW):
        shape = (len(tiles_BCDHW), 3, *tiles_BCDHW.shape[2:])
        return self.logits.view(1, 3, 1, 1, 1).expand(shape)


def test_an_ensemble_has_the_mean_probability(tmp_path):
    card = write_model(tmp_path / "model")
    models = [
        SegmentationModel(Constant(*probabilities), card, torch.device("cpu"))
        for probabilities in ((0.1, 0.9, 0.3), (0.2, 0.4, 0.3), (0.1, 0.5, 0.2))
    ]
    found = segment(body(), Ensemble(tuple(models)), probabilities=True)
    for target, mean in {"spleen": 0.6, "liver": 0.8 / 3, "liver_tumor": 0.4 / 3}.items():
        np.testing.assert_allclose(found.probabilities[target], mean, atol=2e-3)
    assert (found.array == 1).all()  # the spleen alone exceeds one half; two of three deny it


def test_models_that_do_not_agree_are_not_averaged(tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    write_model(folders[0])
    for change, said in (
        ({"regions": ("spleen", "liver")}, "their regions are"),
        ({"target_spacing": (1.0, 1.0, 1.0)}, "spacing"),
        ({"in_channels": 2}, "image channels are 1 and 2"),
        ({"modalities": ("CT", "MR")}, "modalities"),
    ):
        write_model(folders[1], **change)
        with pytest.raises(ModelError, match=said):
            segment(body(), folders)


def test_a_misspelt_target_is_guessed(tmp_path):
    write_model(tmp_path)
    with pytest.raises(ModelError, match=r"liver_tumour; it knows .*did you mean liver_tumor\?"):
        segment(body(), tmp_path, ["liver_tumour"])
