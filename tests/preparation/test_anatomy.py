"""Sides, heights and volumes: what is odd, and what rare patients really look like."""

import pytest
from pydantic import ValidationError

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.anatomy import (
    Doubts,
    TargetPlace,
    check_audit,
    doubts_about,
)
from tsfm_pipeline.preparation.settings import AuditSettings

SETTINGS = AuditSettings(
    right_organs=("liver", "gallbladder"),
    left_organs=("spleen", "stomach"),
    levels=(("lung_upper_lobe_left",), ("liver", "kidney_left"), ("urinary_bladder",)),
    volume_ml={"liver": (200, 8000), "kidney_left": (10, 3000)},
)
# mm from the front right foot, in a patient 300 mm wide
PATIENT = {
    "liver": (400, 100, 100),
    "gallbladder": (380, 80, 110),
    "spleen": (410, 160, 230),
    "stomach": (400, 80, 200),
    "kidney_right": (350, 180, 90),
    "kidney_left": (360, 180, 210),
    "adrenal_gland_right": (400, 170, 120),
    "adrenal_gland_left": (400, 170, 180),
    "lung_middle_lobe_right": (560, 100, 80),  # the left has no such lobe
    "lung_upper_lobe_left": (600, 100, 220),
    "urinary_bladder": (100, 100, 150),
}
PARTNERS = LabelTable(
    targets={name: value for value, name in enumerate(PATIENT, 1)}
).side_partners()
SOUND = Doubts("", ())


def doubts(places: dict[str, tuple[float, float, float]], ml: float = 500, at_edge=False) -> Doubts:
    found = {name: TargetPlace(centre, ml, at_edge) for name, centre in places.items()}
    return doubts_about(found, PARTNERS, SETTINGS)


def mirrored(*names: str) -> dict[str, tuple[float, float, float]]:
    """Return the patient with some targets, or all, on the other side."""
    return {
        name: (z, y, 300 - x if name in (names or PATIENT) else x)
        for name, (z, y, x) in PATIENT.items()
    }


def test_a_patient_is_sound_whole_and_in_parts() -> None:
    assert doubts(PATIENT) == SOUND
    for name, centre in PATIENT.items():
        assert doubts({name: centre}) == SOUND
        assert doubts({other: PATIENT[other] for other in PATIENT if other != name}) == SOUND
    assert doubts({}) == SOUND


def test_a_mirrored_scan_is_told_from_exchanged_labels_and_from_situs_inversus() -> None:
    scan = doubts(mirrored())
    assert "kidney_left lies right of kidney_right" in scan.mirrored
    assert "the header is wrong about the scan" in scan.mirrored
    assert scan.others == ()
    sided = [name for name in PATIENT if name in PARTNERS]
    assert "the labels are exchanged" in doubts(mirrored(*sided)).mirrored
    organs = [name for name in PATIENT if name not in PARTNERS]
    inverse = doubts(mirrored(*organs))
    assert inverse.mirrored == ""
    assert len(inverse.others) == 1
    assert "spleen lies right of liver" in inverse.others[0]
    assert "situs inversus" in inverse.others[0]
    assert doubts(PATIENT | {"stomach": (400.0, 80.0, 95.0)}) == SOUND  # one displaced organ


def test_one_kidney_and_the_adrenal_of_the_other_side_tell_sides_too() -> None:
    few = ("kidney_left", "adrenal_gland_right")
    assert doubts({name: PATIENT[name] for name in few}) == SOUND
    assert doubts({name: mirrored()[name] for name in few}).mirrored


def test_a_transplanted_or_crossed_kidney_is_a_doubt_and_no_mirror() -> None:
    crossed = PATIENT | {"kidney_left": (250.0, 100.0, 70.0)}
    found = doubts(crossed)
    assert found.mirrored == ""
    assert found.others[0].startswith("kidney_left lies right of kidney_right, ")
    assert "unlike its other pairs" in found.others[0]


def test_stray_voxels_have_no_place() -> None:
    few = {name: mirrored()[name] for name in ("kidney_left", "kidney_right")}
    assert doubts(few, ml=1.1, at_edge=True).mirrored
    assert doubts(few, ml=0.9, at_edge=True) == SOUND


def test_impossible_heights_are_named_level_by_level() -> None:
    found = doubts(PATIENT | {"urinary_bladder": (390.0, 100.0, 150.0)})
    assert found.others == ("kidney_left lies below urinary_bladder",)
    assert doubts(PATIENT | {"urinary_bladder": (379.0, 100.0, 150.0)}) == SOUND  # 19 mm
    upside_down = {name: (700 - z, y, x) for name, (z, y, x) in PATIENT.items()}
    (sentence,) = doubts(upside_down).others
    assert "liver lies below urinary_bladder" not in sentence  # three are named
    assert sentence.endswith(" and 2 more")


def test_volumes_outside_their_limits_are_named_but_for_organs_that_are_cut_off() -> None:
    kidney = {"kidney_left": PATIENT["kidney_left"]}
    assert doubts(kidney, ml=3).others == ("kidney_left has 3 ml, not 10 to 3000",)
    assert doubts(kidney, ml=3, at_edge=True) == SOUND
    assert doubts(kidney, ml=4e3, at_edge=True).others == (
        "kidney_left has 4e+03 ml, not 10 to 3000",
    )
    assert doubts({"spleen": PATIENT["spleen"]}, ml=1e6) == SOUND  # it has no limits


def test_settings_that_would_check_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="no range"):
        AuditSettings(volume_ml={"liver": (5, 5)})
    table = LabelTable(targets={"liver": 1})
    with pytest.raises(ValueError, match="audit: unknown target\\(s\\) gallbladder, kidney_left"):
        check_audit(SETTINGS, table)
    check_audit(AuditSettings(levels=(("liver",),)), table)
