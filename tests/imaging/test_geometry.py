"""Grids against SimpleITK: world coordinates, cropping, and reorientation of all orientations."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk

from tsfm_pipeline.imaging.geometry import Geometry, canonical_reorientation

SHAPE_ZYX = (4, 5, 7)
SPACING_XYZ = (0.7, 1.1, 2.5)
ORIGIN_XYZ = (-31.0, 17.5, 403.25)

AXES = [("L", "R"), ("P", "A"), ("S", "I")]  # ends at +x, -x; +y, -y; +z, -z of LPS
CODES = [
    "".join(AXES[axis][flip] for axis, flip in zip(order, flips, strict=True))
    for order in permutations(range(3))
    for flips in product((0, 1), repeat=3)
]


def rotation(degrees_xyz: tuple[float, float, float]) -> np.ndarray:
    transform = sitk.Euler3DTransform()
    transform.SetRotation(*np.deg2rad(degrees_xyz).tolist())
    return np.asarray(transform.GetMatrix()).reshape(3, 3)


def make_image(direction: np.ndarray) -> sitk.Image:
    array = np.random.default_rng(0).normal(size=SHAPE_ZYX).astype(np.float32)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_XYZ)
    image.SetOrigin(ORIGIN_XYZ)
    image.SetDirection(direction.ravel().tolist())
    return image


def geometry_of(image: sitk.Image) -> Geometry:
    d = image.GetDirection()
    return Geometry(
        shape=image.GetSize()[::-1],
        spacing=image.GetSpacing()[::-1],
        origin=image.GetOrigin(),
        direction=(d[0:3], d[3:6], d[6:9]),
    )


def assert_same_grid(actual: Geometry, expected: Geometry) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual.spacing, expected.spacing, atol=1e-9)
    np.testing.assert_allclose(actual.origin, expected.origin, atol=1e-9)
    np.testing.assert_allclose(actual.direction, expected.direction, atol=1e-9)


def direction_of_code(code: str) -> np.ndarray:
    text = sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(code)
    return np.asarray(text).reshape(3, 3)


OBLIQUE = {
    "slightly": rotation((4.0, -7.0, 11.0)),
    "tilted gantry": rotation((-25.0, 0.0, 0.0)),
    "far": rotation((20.0, 15.0, -30.0)) @ direction_of_code("SAR"),
    "left-handed": rotation((12.0, 8.0, -20.0)) @ np.diag([1.0, -1.0, 1.0]),
}
DIRECTIONS = {code: direction_of_code(code) for code in CODES} | OBLIQUE


def test_there_are_48_orientations() -> None:
    assert len(set(CODES)) == 48
    assert len({tuple(direction_of_code(code).ravel()) for code in CODES}) == 48


@pytest.mark.parametrize("name", DIRECTIONS)
def test_world_points_equal_itks(name: str) -> None:
    image = make_image(DIRECTIONS[name])
    geometry = geometry_of(image)
    for index_zyx in ((0, 0, 0), (3, 1, 6), (2, 4, 0)):
        expected = image.TransformIndexToPhysicalPoint(index_zyx[::-1])
        np.testing.assert_allclose(geometry.index_to_world(index_zyx), expected, atol=1e-9)
        np.testing.assert_allclose(geometry.world_to_index(expected), index_zyx, atol=1e-9)
    fraction = image.TransformContinuousIndexToPhysicalPoint((1.25, 0.5, 2.75))
    points = geometry.index_to_world([[2.75, 0.5, 1.25], [0, 0, 0]])
    np.testing.assert_allclose(points, [fraction, ORIGIN_XYZ], atol=1e-9)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_canonical_reorientation_equals_dicom_orient_to_lps(name: str) -> None:
    image = make_image(DIRECTIONS[name])
    expected = sitk.DICOMOrient(image, "LPS")
    geometry = geometry_of(image)
    reorientation = canonical_reorientation(geometry)
    array = sitk.GetArrayFromImage(image)
    canonical = reorientation.apply(array)
    np.testing.assert_array_equal(canonical, sitk.GetArrayFromImage(expected))
    assert_same_grid(reorientation.apply_to_geometry(geometry), geometry_of(expected))
    np.testing.assert_array_equal(reorientation.invert(canonical), array)
    channels = np.stack([array, -array])
    np.testing.assert_array_equal(reorientation.apply(channels)[1], -canonical)
    np.testing.assert_array_equal(reorientation.invert(reorientation.apply(channels)), channels)


@pytest.mark.parametrize("name", ["LPS", "SAR", *OBLIQUE])
def test_cropped_grid_equals_itks_region_of_interest(name: str) -> None:
    image = make_image(DIRECTIONS[name])
    lower_zyx, shape_zyx = (1, 2, 3), (2, 3, 4)
    expected = sitk.RegionOfInterest(image, shape_zyx[::-1], lower_zyx[::-1])
    assert_same_grid(geometry_of(image).cropped(lower_zyx, shape_zyx), geometry_of(expected))


@pytest.mark.parametrize("name", ["LPS", "SAR", *OBLIQUE])
def test_resampled_grid_keeps_the_outer_corners(name: str) -> None:
    geometry = geometry_of(make_image(DIRECTIONS[name]))
    resampled = geometry.resampled((9, 5, 3))
    for corner in product((0, 1), repeat=3):
        old = geometry.index_to_world(np.asarray(corner) * geometry.shape - 0.5)
        new = resampled.index_to_world(np.asarray(corner) * resampled.shape - 0.5)
        np.testing.assert_allclose(new, old, atol=1e-9)
    np.testing.assert_allclose(
        np.multiply(resampled.spacing, resampled.shape),
        np.multiply(geometry.spacing, geometry.shape),
    )
