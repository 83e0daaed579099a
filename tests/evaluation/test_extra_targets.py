"""Other readings of targets against masks that are written out."""

import numpy as np
import pandas as pd
import pytest

from tsfm_pipeline.evaluation import metrics
from tsfm_pipeline.evaluation.extra_targets import check_unions, extra_targets, without_extra
from tsfm_pipeline.evaluation.metrics import score_case, score_masks
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.imaging.labels import LabelError, LabelTable

TABLE = LabelTable(
    targets={"kidney_right": 2, "kidney_left": 3, "liver": 5, "liver_tumor": 25}
    | {"kidney": 22, "kidney_tumor": 23, "cyst_left": 36, "cyst_right": 37, "kidney_cyst": 24}
    | {"necrosis": 38, "edema": 39, "enhancing": 40},
    regions={
        "liver": ("liver", "liver_tumor"),
        "kidney": ("kidney", "kidney_tumor", "kidney_cyst"),
        "mass": ("kidney_tumor", "kidney_cyst"),
    },
    compositions={
        "kidney": ("kidney_left", "kidney_right"),
        "kidney_cyst": ("cyst_left", "cyst_right"),
    },
)
SETTINGS = EvaluationSettings(
    tumor_targets=("*_tumor",),
    unions={"whole": ("necrosis", "edema", "enhancing"), "core": ("necrosis", "enhancing")},
)
SPACING = (2.0, 1.0, 0.5)
ALONE = {"liver (label alone)": (5,)}


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        (["liver", "liver_tumor"], ALONE),
        (["liver", "kidney_left"], {}),  # no tumour is labelled, one kidney alone
        (["liver_tumor"], {}),
        (["kidney", "kidney_tumor"], {"kidney (label alone)": (22,)}),
        (["mass", "kidney_tumor", "kidney_cyst"], {}),  # the tumour has a row of its own
        (["kidney_right", "kidney_left"], {"kidney": (22, 23, 24, 3, 2, 36, 37)}),
        (["kidney", "kidney_right", "kidney_left"], {}),
        (["necrosis", "enhancing"], {"core": (38, 40)}),
        (["edema", "enhancing", "necrosis"], {"whole": (38, 39, 40), "core": (38, 40)}),
    ],
)
def test_what_is_scored_beside_which_regions(regions: list, expected: dict) -> None:
    assert extra_targets(regions, TABLE, SETTINGS.unions) == expected


def test_datasets_kept_apart_have_the_same_readings() -> None:
    table = LabelTable.model_validate(
        {
            "reading": "per_dataset",
            "targets": {"liver": 5, "liver_tumor": 25, "necrosis": 38, "enhancing": 40},
            "regions": {"liver": ("liver", "liver_tumor")},
            "per_dataset": {
                "lits": {"liver": 1, "liver_tumor": 2},
                "brats": {"necrosis": 3, "enhancing": 4},
            },
        }
    )
    lits, brats = (table.regions_annotated_by([*table.targets][i : i + 2]) for i in (0, 2))
    assert extra_targets(lits, table, SETTINGS.unions) == {"liver (label alone)": (1,)}
    assert extra_targets(brats, table, SETTINGS.unions) == {"core": (3, 4)}


@pytest.mark.parametrize(
    ("regions", "masks"),
    [
        (["liver", "liver_tumor"], {"liver": (5, 25), "liver_tumor": (25,)} | ALONE),
        (
            ["necrosis", "edema", "enhancing"],
            {"necrosis": (38,), "edema": (39,), "enhancing": (40,)}
            | {"whole": (38, 39, 40), "core": (38, 40)},
        ),
        (
            ["kidney_left", "kidney_right"],
            {"kidney_left": (3,), "kidney_right": (2,), "kidney": (2, 3)},
        ),
    ],
)
def test_extra_rows_are_scored_as_their_masks(regions: list, masks: dict) -> None:
    rng = np.random.default_rng(0)
    values = [0, *{value for ids in masks.values() for value in ids}]
    reference, prediction = (rng.choice(values, (5, 6, 7)).astype(np.uint8) for _ in "ab")
    reference[:2] = prediction[:, 5:] = 0
    rows = score_case(reference, prediction, regions, TABLE, SPACING, SETTINGS)
    assert [row["target"] for row in rows] == list(masks)
    assert [row["target"] for row in rows if not row["extra"]] == regions
    for row, (name, ids) in zip(rows, masks.items(), strict=True):
        a, b = np.isin(reference, ids), np.isin(prediction, ids)
        expected = score_masks(a, b, SPACING, SETTINGS, name)
        assert {key: row[key] for key in expected} == pytest.approx(expected)


def test_what_has_the_same_voxels_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cases of the liver: only the one that shows a tumour has its label measured alone."""
    measured: list[str] = []

    def counting(*args: object) -> object:
        measured.append(str(args[-1]))
        return score_masks(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(metrics, "score_masks", counting)
    sound, ill = np.zeros((2, 4, 4, 4), np.uint8)
    sound[1:3] = ill[1:3] = 5
    ill[1, 1, 1] = 25
    names = ["liver", "liver_tumor", *ALONE]
    for prediction, expected in ((sound, names[:2]), (ill, names)):
        measured.clear()
        rows = score_case(sound, prediction, names[:2], TABLE, SPACING, SETTINGS)
        assert [row["target"] for row in rows] == names
        assert measured == expected
    assert (rows[0]["dice"], rows[2]["dice"]) == (1.0, 2 * 31 / (32 + 31))


def test_a_tumour_that_fills_its_organ_keeps_its_lesions() -> None:
    """Organ and tumour have the same voxels, but only one of them has lesions."""
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1:3, 1:3, 1:3] = 25
    organ, tumour, _ = score_case(
        labels, labels, ["liver", "liver_tumor"], TABLE, SPACING, SETTINGS
    )
    assert "reference_lesions" not in organ
    assert tumour["reference_lesions"] == 1


def test_older_tables_have_no_extra_rows() -> None:
    rows = pd.DataFrame({"target": list("abcd"), "extra": [None, True, False, float("nan")]})
    assert list(without_extra(rows)["target"]) == ["a", "c", "d"]
    assert len(without_extra(rows.assign(extra=float("nan")))) == 4


@pytest.mark.parametrize(
    ("unions", "message"),
    [
        ({"whole": ("necrosis", "odema")}, r"unions\.whole: unknown target\(s\) odema"),
        ({"liver": ("necrosis", "edema")}, r"unions\.liver is a target or region"),
        ({"mass": ("necrosis", "edema")}, r"unions\.mass is a target or region"),
    ],
)
def test_unions_that_would_never_be_scored_are_refused(unions: dict, message: str) -> None:
    check_unions(SETTINGS, TABLE)
    with pytest.raises(LabelError, match=message):
        check_unions(SETTINGS.model_copy(update={"unions": unions}), TABLE)
