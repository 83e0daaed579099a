"""A download that numbers its labels otherwise is refused; other spellings are not."""

import json
from pathlib import Path

import pytest

from tests.sources.test_datasets_config import load
from tsfm_pipeline.phantom.layouts.amos22 import PUBLISHED_NAMES
from tsfm_pipeline.phantom.layouts.msd import TASKS
from tsfm_pipeline.sources import SourceError
from tsfm_pipeline.sources.label_names import renumbered
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.nnunet import NnunetSource

KIDNEY = {1: "kidney", 2: "kidney_tumor", 3: "kidney_cyst"}


@pytest.mark.parametrize(
    ("published", "labels", "found"),
    [
        ({1: "right kidney", 2: "left kidney"}, {1: "kidney_right", 2: "kidney_left"}, {}),
        (
            {1: "left kidney", 2: "right kidney"},
            {1: "kidney_right", 2: "kidney_left"},
            {1: 2, 2: 1},
        ),
        ({1: "liver", 2: "cancer"}, {1: "liver", 2: "liver_tumor"}, {}),
        ({1: "cancer", 2: "liver"}, {1: "liver", 2: "liver_tumor"}, {1: 2, 2: 1}),
        ({1: "Vessel", 2: "Tumour"}, {1: "hepatic_vessel", 2: "liver_tumor"}, {}),
        (
            {1: "Tumour", 2: "Vessel"},
            {1: "hepatic_vessel", 2: "liver_tumor"},
            {1: 2, 2: 1},
        ),
        ({1: "Posterior", 2: "Anterior"}, {1: "hc_anterior", 2: "hc_posterior"}, {1: 2, 2: 1}),
        ({1: "one", 2: "two"}, {1: "liver", 2: "spleen"}, {}),  # says nothing
        ({1: "kidney", 2: "tumour", 3: "cyst"}, KIDNEY, {}),
        ({1: "kidney", 2: "cyst", 3: "tumour"}, KIDNEY, {2: 3, 3: 2}),
        ({1: "cancer", 2: "liver"}, {1: "liver", 2: None}, {2: 1}),  # the liver would be dropped
        ({1: "liver tumor", 2: "liver"}, {1: "liver_tumor", 2: None}, {}),
        ({1: "prostate", 2: "prostate"}, {1: "prostate", 2: "prostate"}, {}),
        ({0: "background", 1: ""}, {1: "liver"}, {}),
    ],
)
def test_names_are_compared_as_words(published, labels, found) -> None:
    assert renumbered(published, labels, {}) == found


def test_a_spelling_of_the_publisher_tells_what_a_target_does_not() -> None:
    labels = {1: "aorta", 2: "inferior_vena_cava"}
    assert renumbered({1: "postcava", 2: "arota"}, labels, {}) == {}
    spelt = {1: "arota", 2: "postcava"}
    assert renumbered({1: "postcava", 2: "arota"}, labels, spelt) == {1: 2, 2: 1}
    assert renumbered(spelt, labels, spelt) == {}


def test_the_publishers_own_names_fit_the_shipped_table() -> None:
    datasets = load("base").datasets
    amos = datasets["amos22"]
    published = dict(enumerate(PUBLISHED_NAMES))
    assert renumbered(published, amos.labels, amos.published_names) == {}
    for value in range(1, 15):  # every exchange of two neighbours is found
        turned = published | {value: published[value + 1], value + 1: published[value]}
        found = renumbered(turned, amos.labels, amos.published_names)
        assert found in ({value: value + 1, value + 1: value},), turned
    for name, task in TASKS.items():
        published = dict(enumerate(task.label_names, 1))
        assert renumbered(published, datasets[name].labels, {}) == {}


def write(root: Path, **header) -> Path:
    for name in ("imagesTr/a_0000.nii.gz", "imagesTr/a.nii.gz", "labelsTr/a.nii.gz"):
        (root / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "data" / name).touch()
    (root / "data/dataset.json").write_text(json.dumps(header))
    return root


def test_a_renumbered_msd_dataset_is_refused_with_both_lists(tmp_path) -> None:
    source = MsdSource(folder="data", labels={1: "liver", 2: "liver_tumor"}).named("mine")
    labels = {"0": "background", "1": "cancer", "2": "liver"}
    with pytest.raises(SourceError) as caught:
        source.find_cases(write(tmp_path, modality={"0": "CT"}, labels=labels))
    said = str(caught.value)
    assert "datasets.mine: dataset.json in" in said
    assert "2 is 'liver', as 1 is here" in said
    assert "{0: 'background', 1: 'cancer', 2: 'liver'}" in said
    assert "`datasets.mine.labels`: {1: 'liver', 2: 'liver_tumor'}" in said
    right = {"1": "liver", "2": "cancer"}
    assert source.find_cases(write(tmp_path, modality={"0": "CT"}, labels=right))
    told = source.model_copy(update={"published_names": {1: "cancer", 2: "liver"}})
    assert told.find_cases(write(tmp_path, modality={"0": "CT"}, labels=labels))


def test_regions_of_nnunet_name_no_single_value(tmp_path) -> None:
    source = NnunetSource(folder="data", labels=dict(KIDNEY)).named("mine")
    header = {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
    regions = {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}
    assert source.find_cases(write(tmp_path, labels=regions, **header))
    swapped = {"background": 0, "kidney": 1, "cyst": 2, "tumor": 3}
    with pytest.raises(SourceError, match="2 is 'cyst', as 3 is here, 3 is 'tumor', as 2"):
        source.find_cases(write(tmp_path, labels=swapped, **header))
