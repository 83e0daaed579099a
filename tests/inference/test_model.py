import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tsfm_pipeline.files import file_digest
from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.inference.model import load_model, predict_scores
from tsfm_pipeline.inference.postprocessing import PostprocessingRule
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.network.tsfm import TSFM

SETTINGS = InferenceSettings()


@pytest.fixture
def folder(card, tmp_path):
    torch.manual_seed(0)
    for weights in ("best", "final"):
        network = TSFM(1, len(card.regions), card.network, card.patch)
        save_file(network.state_dict(), tmp_path / f"{weights}.safetensors")
    (tmp_path / "model.json").write_text(card.model_dump_json())
    return tmp_path


def test_a_loaded_model_predicts_as_the_network_that_was_saved(folder, card):
    model = load_model(ModelFolder(folder), "final", "cpu")
    torch.manual_seed(0)
    TSFM(1, len(card.regions), card.network, card.patch)
    same = TSFM(1, len(card.regions), card.network, card.patch).eval()
    image = np.random.default_rng(0).normal(size=(1, *card.patch)).astype(np.float32)
    found = predict_scores(model, image, "MR", ("liver", "kidney_cyst"), SETTINGS)
    with torch.inference_mode():
        expected = same(torch.from_numpy(image)[None]).sigmoid()[0, [3, 0]]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_a_softmax_models_regions_are_sums_of_its_targets(card, tmp_path):
    settings = card.settings.model_copy(update={"loss": "softmax"})
    card = card.model_copy(update={"settings": settings, "regions": ("liver", "liver_tumor")})
    torch.manual_seed(0)
    network = TSFM(1, 2, card.network, card.patch).eval()  # liver without tumour, and tumour
    save_file(network.state_dict(), tmp_path / "best.safetensors")
    (tmp_path / "model.json").write_text(card.model_dump_json())
    image = np.random.default_rng(0).normal(size=(1, *card.patch)).astype(np.float32)
    model = load_model(ModelFolder(tmp_path), "best", "cpu")
    found = predict_scores(model, image, "MR", card.regions, SETTINGS)
    with torch.inference_mode():
        logits = network(torch.from_numpy(image)[None])[0]
        scores = torch.cat((torch.zeros_like(logits[:1]), logits)).softmax(0)
    np.testing.assert_allclose(found[0], (scores[1] + scores[2]).numpy(), atol=1e-5)
    np.testing.assert_allclose(found[1], scores[2].numpy(), atol=1e-5)


def test_best_and_final_are_told_apart(folder, card):
    image = np.ones((1, *card.patch), np.float32)
    best, final = (
        predict_scores(
            load_model(ModelFolder(folder), name, "cpu"), image, "MR", card.regions, SETTINGS
        )
        for name in ("best", "final")
    )
    assert not np.allclose(best, final)


def test_what_is_missing_or_does_not_fit_is_named(folder, card):
    (folder / "best.safetensors").unlink()
    with pytest.raises(ModelError, match=r"best\.safetensors"):
        load_model(ModelFolder(folder), "best", "cpu")
    fewer = card.model_copy(update={"regions": ("liver",)})
    (folder / "model.json").write_text(fewer.model_dump_json())
    with pytest.raises(ModelError, match=r"final\.safetensors does not fit"):
        load_model(ModelFolder(folder), "final", "cpu")
    (folder / "model.json").write_text("{}")
    with pytest.raises(ModelError, match=r"no usable model\.json"):
        load_model(ModelFolder(folder), "final", "cpu")


def test_a_postprocessing_rule_goes_with_the_weights_it_was_decided_for(folder, caplog):
    assert load_model(ModelFolder(folder), "best", "cpu").postprocessing is None
    rule = PostprocessingRule(
        all_foreground=False,
        regions=("liver",),
        evidence=(),
        cases=(),
        prediction=SETTINGS,
        weights_digest=file_digest(folder / "best.safetensors"),
    )
    for weights in ("best", "final"):
        ModelFolder(folder).rule(weights).write_text(rule.model_dump_json())
    assert load_model(ModelFolder(folder), "best", "cpu").postprocessing == rule
    assert not caplog.records
    assert load_model(ModelFolder(folder), "final", "cpu").postprocessing is None
    assert "of other weights" in caplog.text
    ModelFolder(folder).rule("best").write_text("{")
    with pytest.raises(ModelError, match=r"postprocessing_best\.json is no postprocessing rule"):
        load_model(ModelFolder(folder), "best", "cpu")


def test_ct_is_normalised_with_the_cards_statistics_and_mr_is_not(oracle, card):
    statistics = CtStatistics(lower=-100, upper=200, mean=50, sd=25)
    model = type(oracle)(
        oracle.network, card.model_copy(update={"ct_statistics": statistics}), oracle.device
    )
    image = np.array([-500, 0, 75, 900], np.float32).reshape(1, 4, 1, 1)
    np.testing.assert_allclose(model.normalise(image, "CT").ravel(), [-6, -2, 1, 6])
    assert model.normalise(image, "MR") is image


def test_air_is_where_clipping_or_minus_900_hu_puts_it(oracle, card):
    soft = CtStatistics(lower=-100, upper=200, mean=50, sd=25)
    wide = CtStatistics(lower=-1000, upper=200, mean=50, sd=25)
    for statistics, expected in ((soft, -6), (wide, -38)):
        model = type(oracle)(
            oracle.network, card.model_copy(update={"ct_statistics": statistics}), oracle.device
        )
        assert model.air("CT") == pytest.approx(expected)
        assert model.air("MR") == -np.inf


def test_ct_for_an_mr_model_is_refused(oracle, card):
    model = type(oracle)(
        oracle.network, card.model_copy(update={"ct_statistics": None}), oracle.device
    )
    with pytest.raises(ModelError, match="MR alone"):
        model.normalise(np.zeros((1, 4, 4, 4), np.float32), "CT")


def test_wrong_channels_and_unknown_regions_are_refused(oracle):
    with pytest.raises(ModelError, match=r"takes 1 image channel\(s\), not 4"):
        predict_scores(oracle, np.zeros((4, 8, 8, 8), np.float32), "CT", ("liver",), SETTINGS)
    with pytest.raises(ModelError, match="does not predict"):
        predict_scores(oracle, np.zeros((1, 8, 8, 8), np.float32), "CT", ("colon",), SETTINGS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("patch", [16384, 16384, 16384]),
        ("patch", [0, 16, 16]),
        ("patch", [2000, 2000, 2000]),
        ("in_channels", 10**9),
        ("network", {"channels": 10**6, "blocks": 1, "width": 96, "layers": 2, "heads": 3}),
    ],
)
def test_absurd_numbers_of_a_card_are_refused_before_memory_is_taken(folder, field, value):
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**content, field: value}))
    with pytest.raises(ModelError, match=field):
        load_model(ModelFolder(folder), "best", "cpu")
