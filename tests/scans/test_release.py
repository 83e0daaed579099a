import json
import shutil

import pandas as pd
import pytest
import SimpleITK as sitk

from tests.scans.conftest import body, write_model, write_rule
from tsfm_pipeline.inference.postprocessing import keep_largest
from tsfm_pipeline.scans.release import Origin, ReleaseError, release_model
from tsfm_pipeline.scans.run import predict_folder
from tsfm_pipeline.scans.segment import segment
from tsfm_pipeline.scans.settings import PredictSettings

ORIGINS = {
    "msd_liver": Origin("http://medicaldecathlon.com", "CC BY-SA 4.0"),
    "btcv": Origin("https://www.synapse.org", "terms of the Synapse account"),
}


def test_a_release_predicts_what_the_trained_folder_did(tmp_path, model):
    coarse = tmp_path / "coarse"
    write_model(coarse, target_spacing=(6.0, 4.0, 4.0))
    scores = pd.DataFrame(
        [
            ("pretrain.tsfm", "best", "btcv", "liver", 0.5),
            ("pretrain.tsfm", "best", "btcv", "liver", 0.7),
            ("pretrain.tsfm", "final", "btcv", "liver", 0.1),
            ("other", "best", "btcv", "liver", 0.1),
        ],
        columns=["experiment", "weights", "dataset", "target", "dice"],
    )
    output = tmp_path / "weights"
    release_model(model, output, ORIGINS, fast=coarse, scores=scores)
    text = (output / "README.md").read_text()
    for said in (
        "| msd_liver | 2 | CC BY-SA 4.0 | http://medicaldecathlon.com |",
        "| btcv | 1 | terms of the Synapse account | https://www.synapse.org |",
        "| btcv | liver | 2 | 0.6000 |",
        "chosen on these cases",
        "| 5 | liver | liver, liver_tumor |",
        "Not a medical device",
    ):
        assert said in text
    assert {path.name for path in output.iterdir()} == {
        *("README.md", "best.safetensors", "digests.json", "fast", "labels.json", "model.json"),
    }
    assert [row["id"] for row in json.loads((output / "labels.json").read_text())] == [1, 5, 25]

    moved = shutil.move(output, tmp_path / "elsewhere")
    before, after = segment(body(), model).labels, segment(body(), moved).labels
    assert sitk.GetArrayFromImage(before).tolist() == sitk.GetArrayFromImage(after).tolist()
    sitk.WriteImage(body(), str(tmp_path / "one.nii.gz"))
    settings = PredictSettings(fast=True, preview=False)
    summary = predict_folder(tmp_path / "one.nii.gz", tmp_path / "out", moved, settings)
    assert summary.segmented == ("one",)


@pytest.mark.parametrize(
    ("test", "sentence"),
    [((), "chosen on these cases, so"), (("btcv/three",), "chosen on 1 other cases")],
)
def test_the_card_says_what_chose_the_weights(tmp_path, test, sentence):
    write_model(tmp_path / "model", test=test)
    row = ("pretrain.tsfm", "best", "btcv", "spleen", 0.5)
    scores = pd.DataFrame([row], columns=["experiment", "weights", "dataset", "target", "dice"])
    release_model(tmp_path / "model", tmp_path / "release", ORIGINS, scores=scores)
    text = (tmp_path / "release" / "README.md").read_text()
    assert sentence in text
    assert text.count("best weights were chosen") == 1


def test_a_postprocessing_rule_travels_with_the_weights_and_is_applied(tmp_path, model):
    trained, output = tmp_path / "trained", tmp_path / "weights"
    shutil.copytree(model, trained)
    before = sitk.GetArrayFromImage(segment(body(), trained).labels)
    largest = before.copy()
    keep_largest(largest, (5, 25))
    assert (largest != before).any()
    write_rule(trained, ("liver",))
    release_model(trained, output, ORIGINS, fast=model)
    after = sitk.GetArrayFromImage(segment(body(), output).labels)
    assert after.tolist() == largest.tolist()
    text = (output / "README.md").read_text()
    assert "largest component only of liver, decided on 2 training cases" in text
    assert not list((output / "fast").glob("postprocessing*"))


def test_what_cannot_be_released_is_refused(tmp_path, model):
    with pytest.raises(ReleaseError, match="no licence is known for btcv"):
        release_model(model, tmp_path / "w", {"msd_liver": ORIGINS["msd_liver"]})
    other = tmp_path / "other"
    write_model(other, regions=("spleen",))
    with pytest.raises(ReleaseError, match="does not predict the regions"):
        release_model(model, tmp_path / "w", ORIGINS, fast=other)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    with pytest.raises(ReleaseError, match="something else than a release"):
        release_model(model, mine, ORIGINS)
    scores = pd.DataFrame(columns=["experiment", "weights", "dataset", "target", "dice"])
    with pytest.raises(ReleaseError, match="no row of experiment"):
        release_model(model, tmp_path / "w", ORIGINS, scores=scores)
    assert not (tmp_path / "w").exists()
