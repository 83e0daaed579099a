"""Postprocessing against nnU-Net v1's own functions; see tests/reference/nnunet_inference.py."""

import numpy as np
import pytest

from tests.inference.speckles import COMPONENTS, DECISIONS
from tsfm_pipeline.evaluation.postprocessing import decide_postprocessing
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.postprocessing import (
    PostprocessingRule,
    foreground_ids,
    keep_largest,
    postprocess,
)
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.folder import ModelFolder

TABLE = LabelTable(targets={"organ": 1, "tumour": 2})
NESTED = LabelTable(targets={"organ": 1, "tumour": 2}, regions={"organ": ("organ", "tumour")})
SETTINGS = InferenceSettings(postprocessing_cases=2)


def decided(cases, table=TABLE):
    rows = []
    for number, (reference, prediction) in enumerate(cases):
        annotated = ("organ", "tumour") if any((r == 2).any() for r, _ in cases) else ("organ",)
        rows.append((f"d/{number}", annotated, reference, prediction))
    return decide_postprocessing(rows, table, "digest", SETTINGS)


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_components_that_nnunet_keeps_are_kept(name, reference):
    labels, ids = COMPONENTS[name]
    found = labels.copy()
    keep_largest(found, ids if isinstance(ids, tuple) else (ids,))
    np.testing.assert_array_equal(found, reference[1][f"largest_{name}"])


@pytest.mark.parametrize("name", DECISIONS)
def test_the_rule_and_its_evidence_are_nnunets(name, reference):
    theirs = reference[0]["decisions"][name]
    rule = decided(DECISIONS[name])
    joined = [entry for entry in theirs["for_which_classes"] if isinstance(entry, list)]
    single = [entry for entry in theirs["for_which_classes"] if not isinstance(entry, list)]
    assert rule.all_foreground == bool(joined)
    assert [TABLE.id_of(region) for region in rule.regions] == single
    for row in rule.evidence:
        value = str(TABLE.id_of(row.region))
        assert row.before == pytest.approx(theirs["raw"][value])
        assert row.after_all == pytest.approx(theirs["all"][value])
        if theirs["per_class"]:
            assert row.after == pytest.approx(theirs["per_class"][value])
    assert rule.cases == tuple(f"d/{number}" for number in range(len(DECISIONS[name])))


def test_a_region_that_contains_another_is_not_reduced_at_the_others_cost():
    reference = np.zeros((1, 1, 12), np.uint8)
    reference[..., :5] = 1
    reference[..., 9] = 2  # a lesion apart from the rest of its organ
    prediction = reference.copy()
    prediction[..., 11] = 1
    cases = [("d/0", ("organ", "tumour"), reference, prediction)]
    apart = decide_postprocessing(cases, TABLE, "", SETTINGS)
    assert apart.regions == ("organ",)
    nested = decide_postprocessing(cases, NESTED, "", SETTINGS)
    assert nested.regions == ()


def test_with_datasets_of_different_regions_only_regions_are_decided():
    (first, second) = DECISIONS["both false"]
    cases = [("a/0", ("organ",), *first), ("b/0", ("organ", "tumour"), *second)]
    rule = decide_postprocessing(cases, TABLE, "", SETTINGS)
    assert not rule.all_foreground
    assert set(rule.regions) == {"organ", "tumour"}
    assert {row.region: row.cases for row in rule.evidence} == {"organ": 2, "tumour": 1}
    assert all(row.after_all is None for row in rule.evidence)


def test_a_rule_is_applied_and_survives_its_file(tmp_path):
    rule = decided(DECISIONS["both false"])
    path = ModelFolder(tmp_path).rule("best")
    path.write_text(rule.model_dump_json())
    assert PostprocessingRule.read(path) == rule
    assert PostprocessingRule.read(ModelFolder(tmp_path).rule("final")) is None
    for reference_map, prediction in DECISIONS["both false"]:
        found = prediction.copy()
        postprocess(found, rule, ("organ", "tumour"), TABLE)
        np.testing.assert_array_equal(found, reference_map)
        # all foreground of other regions is another thing
        alone = np.where(prediction == 1, 1, 0).astype(np.uint8)
        before = alone.copy()
        postprocess(alone, rule, ("organ",), TABLE)
        np.testing.assert_array_equal(alone, before)
    assert foreground_ids(("organ",), NESTED) == (1, 2)


def test_regions_without_any_voxel_have_no_evidence_and_no_rule(tmp_path):
    empty = np.zeros((3, 3, 3), np.uint8)
    rule = decide_postprocessing([("d/0", ("organ",), empty, empty)], TABLE, "", SETTINGS)
    assert not rule.all_foreground
    assert rule.regions == ()
    assert rule.evidence[0].before is None
    PostprocessingRule.model_validate_json(rule.model_dump_json())
