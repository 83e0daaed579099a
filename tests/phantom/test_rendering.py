"""Shapes, painting and partial volume against formulas."""

import numpy as np
import pytest

from tsfm_pipeline.imaging.geometry import Geometry
from tsfm_pipeline.phantom.anatomy import Anatomy, Structure, random_waves
from tsfm_pipeline.phantom.contrast import CONTRASTS, Contrast
from tsfm_pipeline.phantom.head import build_head
from tsfm_pipeline.phantom.lesions import KINDS, add_lesions
from tsfm_pipeline.phantom.rendering import paint_images, paint_labels, paint_structures
from tsfm_pipeline.phantom.shapes import Capsule, Common, Ellipsoid, HalfSpace, Solid, tube
from tsfm_pipeline.phantom.torso import build_torso

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def grid(size: int, spacing: float) -> Geometry:
    start = -0.5 * spacing * (size - 1)
    return Geometry((size,) * 3, (spacing,) * 3, (start,) * 3, IDENTITY)


def volume(solid: Solid, size: int = 150, spacing: float = 0.5) -> float:
    painted = paint_structures(Anatomy((Structure("x", (solid,)),)), grid(size, spacing))
    return float((painted > 0).sum() * spacing**3)


@pytest.mark.parametrize(
    ("solid", "expected"),
    [
        (Ellipsoid((0, 3, 0), (30, 20, 10), (30, 20, 50)), 4 / 3 * np.pi * 6000),
        (Capsule((-20, 0, 5), (20, 0, 5), 8, 8), np.pi * 64 * 40 + 4 / 3 * np.pi * 512),
        (
            Common((Ellipsoid((0, 0, 0), (20, 20, 20)), HalfSpace((0, 0, 0), (0, 0.6, 0.8)))),
            2 / 3 * np.pi * 8000,
        ),
    ],
)
def test_volume_of_solids(solid: Solid, expected: float) -> None:
    assert volume(solid) == pytest.approx(expected, rel=0.02)


def test_distance_is_in_mm_outside_a_ball_and_a_capsule() -> None:
    x, y, z = np.array([[30.0, 0.0, 0.0], [0.0, 0.0, 25.0]]).T
    for solid in (Ellipsoid((0, 0, 0), (10, 10, 10)), Capsule((0, 0, 0), (0, 1e-6, 0), 10, 10)):
        np.testing.assert_allclose(solid.distance(x, y, z), [20, 15], atol=1e-3)


def test_tube_passes_its_way_points() -> None:
    way = np.array([[0.0, 0, 0], [10, 20, 5], [30, 10, -5]])
    parts = tube(way, [5.0, 6.0, 4.0])
    depth = np.min([part.distance(*way.T) for part in parts], axis=0)
    np.testing.assert_allclose(depth, [-5, -6, -4], atol=1e-6)


@pytest.fixture(scope="module")
def patient() -> Anatomy:
    rng = np.random.default_rng(4)
    organs = Anatomy(build_torso(rng, with_breasts=True, with_uterus=True))
    return Anatomy(
        add_lesions(organs, dict.fromkeys(KINDS, 1), rng),
        scale=(1.04, 0.95, 1.02),
        waves=random_waves(rng, 2.5),
        position=(120.0, -40.0, 300.0),
    )


def test_painting_a_grid_equals_asking_at_its_points(patient: Anatomy) -> None:
    geometry = Geometry((30, 20, 26), (9.5, 8.0, 9.0), (5.0, -115.0, 160.0), IDENTITY)
    painted = paint_structures(patient, geometry)
    indices = np.stack(np.unravel_index(np.arange(painted.size), painted.shape), axis=1)
    asked = patient.structure_at(geometry.index_to_world(indices))
    assert np.mean(asked == painted.ravel()) > 0.9995  # float32 against float64 at surfaces
    assert len(np.unique(painted)) > 25


def test_lesions_start_in_their_organ_and_fall_back_to_it(patient: Anatomy) -> None:
    by_name = {structure.name: structure for structure in patient.structures}
    assert by_name["liver_tumor"].targets == ("liver_tumor", "liver")
    assert by_name["kidney_cyst"].targets[0] == "kidney_cyst"
    assert by_name["kidney_cyst"].targets[1] in {"kidney_right", "kidney_left"}
    assert by_name["kidney_cyst"].targets[2] == "kidney"
    number = [s.name for s in patient.structures].index("liver_tumor") + 1
    annotated_by_msd = patient.annotation(("liver", "liver_tumor"))
    annotated_by_btcv = patient.annotation(("spleen", "liver"))
    assert annotated_by_msd[number] == "liver_tumor"
    assert annotated_by_btcv[number] == "liver"
    assert patient.annotation(("spleen",))[number] == ""


def test_right_is_right_and_up_is_up(patient: Anatomy) -> None:
    """LPS: x grows to the patient's left, z to the head."""
    geometry = Geometry((80, 50, 66), (4.0, 4.0, 4.0), (-10.0, -150.0, 140.0), IDENTITY)
    labels = paint_labels(
        patient,
        paint_structures(patient, geometry),
        {"liver": 1, "spleen": 2, "kidney_left": 3, "kidney_right": 4, "urinary_bladder": 5},
    )
    centre = {
        v: geometry.index_to_world(np.argwhere(labels == v).mean(axis=0)) for v in range(1, 6)
    }
    assert centre[1][0] < centre[2][0]
    assert centre[4][0] < centre[3][0]
    assert centre[5][2] < centre[4][2] < centre[1][2]
    assert centre[1][1] < centre[4][1]  # the liver lies in front of the kidney


def test_partial_volume_is_the_covered_fraction() -> None:
    plain = Contrast({"air": (0, 0, 0), "x": (100, 0, 0)}, noise=0)
    below = Anatomy((Structure("x", (HalfSpace((0, 0, 1.2), (0, 0, 1)),)),))
    (image,) = paint_images(below, grid(5, 12.0), [plain], np.random.default_rng(0))
    # Voxel edges at z = -6 and 6: (1.2 + 6) / 12, to the nearest of four sample layers.
    assert image[:, 2, 2] == pytest.approx([100, 100, 50, 0, 0], abs=1e-4)


def test_noise_and_texture_have_their_amplitude() -> None:
    contrast = Contrast({"air": (0, 0, 0), "x": (100, 0, 20)}, noise=5)
    full = Anatomy((Structure("x", (HalfSpace((0, 0, 999), (0, 0, 1)),)),))
    (image,) = paint_images(full, grid(40, 5.0), [contrast], np.random.default_rng(0))
    assert image.mean() == pytest.approx(100, abs=1)
    assert image.std() == pytest.approx(np.hypot(20, 5), rel=0.1)


def test_every_structure_has_every_contrast_it_is_seen_in(patient: Anatomy) -> None:
    torso = {structure.name for structure in patient.structures}
    torso |= {s.name for s in build_torso(np.random.default_rng(0), False, False)}
    head = {structure.name for structure in build_head(np.random.default_rng(0))}
    assert torso <= set(CONTRASTS["ct"].tissues)
    for name in ("flair", "t1", "t1ce", "t2"):
        assert head <= set(CONTRASTS[name].tissues)
    for phase in range(6):
        other_lesions = {"lung_tumor", "pancreas_tumor", "colon_tumor"}
        assert torso - other_lesions <= set(CONTRASTS[f"P{phase}"].tissues)
