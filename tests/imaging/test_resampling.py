import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import resize

from tsfm_pipeline.imaging import label_interpolation
from tsfm_pipeline.imaging.labels import OUTSIDE
from tsfm_pipeline.imaging.resampling import (
    resample_image,
    resample_labels,
    resample_scores,
    resampled_shape,
    separate_axis,
)

ISOTROPIC = (1.0, 1.0, 1.0)
SHAPES = [(20, 24, 28), (13, 37, 20), (7, 24, 11), (33, 9, 28), (1, 30, 5)]


def skimage_volume(volume, shape, order):
    """What nnU-Net v1 calls for one channel without a separate axis."""
    return resize(volume, shape, order, mode="edge", clip=True, anti_aliasing=False)


def one_hot(labels, shape):
    """Labels by linear interpolation of 0/1 masks, in ascending order, with -1 for OUTSIDE."""
    signed = np.where(labels == OUTSIDE, -1, labels.astype(int))
    result = np.zeros(shape, int)
    for value in np.unique(signed):
        result[skimage_volume((signed == value).astype(float), shape, 1) >= 0.5] = value
    return np.where(result == -1, OUTSIDE, result).astype(np.uint8)


def slice_by_slice(volume, shape, axis, resample_plane):
    """nnU-Net v1's separate-z path with its own map_coordinates grid."""
    plane = tuple(size for i, size in enumerate(shape) if i != axis)
    slices = [resample_plane(s, plane) for s in np.moveaxis(volume, axis, 0)]
    stacked = np.stack(slices, axis)
    coordinates = np.indices(shape).astype(float)
    scale = stacked.shape[axis] / shape[axis]
    coordinates[axis] = scale * (coordinates[axis] + 0.5) - 0.5
    return ndimage.map_coordinates(stacked, coordinates, order=0, mode="nearest")


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(20, 24, 28)), 2)
    volume = smooth / smooth.std() * 300 + rng.normal(size=smooth.shape) * 30
    return np.stack([volume, 1e5 + volume**2]).astype(np.float32)


@pytest.fixture
def labels():
    rng = np.random.default_rng(1)
    smooth = ndimage.gaussian_filter(rng.normal(size=(20, 24, 28)), 2)
    found = np.digitize(smooth / smooth.std(), (-1.0, 0.0, 0.7, 1.5))
    return np.array([OUTSIDE, 0, 3, 1, 7], np.uint8)[found]


@pytest.mark.parametrize("shape", SHAPES)
def test_cubic_equals_skimage(image, shape):
    ours = resample_image(image, shape, ISOTROPIC, ISOTROPIC)
    for mine, channel in zip(ours, image, strict=True):
        theirs = skimage_volume(channel.astype(float), shape, 3)
        np.testing.assert_allclose(mine, theirs, rtol=2e-6, atol=1e-3)
    assert ours.dtype == np.float32


def test_overshoot_is_cut_at_each_channels_own_range():
    step = np.zeros((2, 8, 8, 8), np.float32)
    step[0, 4:] = 1000.0
    step[1, :, 4:] = -7.0
    finer = resample_image(step, (20, 20, 20), ISOTROPIC, ISOTROPIC)
    assert (finer[0].min(), finer[0].max()) == (0.0, 1000.0)
    assert (finer[1].min(), finer[1].max()) == (-7.0, 0.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_equal_the_one_hot_rule(labels, shape, monkeypatch):
    """Also at an exact half, which the last bit of a sum decides, and whatever the slabs."""
    expected = one_hot(labels, shape)
    for voxels in (1, 2000, 10**9):
        monkeypatch.setattr(label_interpolation, "_SLAB_VOXELS", voxels)
        ours = resample_labels(labels, shape, ISOTROPIC, ISOTROPIC)
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("size", [9, 41])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_separate_axis_equals_slices_then_nearest(image, labels, axis, size):
    spacing = [0.8, 0.8, 0.8]
    spacing[axis] = 5.0
    shape = [17, 17, 17]
    shape[axis] = size
    shape = tuple(shape)
    ours = resample_image(image[:1], shape, tuple(spacing), ISOTROPIC)[0]
    theirs = slice_by_slice(image[0], shape, axis, lambda s, p: skimage_volume(s, p, 3))
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-3)
    np.testing.assert_array_equal(
        resample_labels(labels, shape, tuple(spacing), ISOTROPIC),
        slice_by_slice(labels, shape, axis, one_hot),
    )


def test_half_way_the_higher_label_wins_and_background_wins_over_outside():
    labels = np.zeros((4, 2, 2), np.uint8)
    labels[1:2] = 4
    labels[2:3] = 2
    halved = resample_labels(labels, (2, 2, 2), ISOTROPIC, ISOTROPIC)
    assert halved[:, 0, 0].tolist() == [4, 2]
    labels[1:3] = OUTSIDE
    halved = resample_labels(labels, (2, 2, 2), ISOTROPIC, ISOTROPIC)
    assert halved[:, 0, 0].tolist() == [0, 0]


def test_where_no_label_reaches_half_it_is_background():
    labels = np.array([[[1, 2], [3, 1]]], np.uint8)
    assert resample_labels(labels, (1, 1, 1), ISOTROPIC, ISOTROPIC).item() == 1
    labels = np.array([[[1, 2], [3, 4]]], np.uint8)
    assert resample_labels(labels, (1, 1, 1), ISOTROPIC, ISOTROPIC).item() == 0


def assembled(slabs, shape):
    """Put the boxes of a streamed volume together; NaN where none was given."""
    volume = np.full(shape, np.nan, np.float32)
    for box, scores in slabs:
        assert np.isnan(volume[box]).all()  # no voxel comes twice
        volume[box] = scores
    return volume


# None, y and z apart: the file's y axis was resampled apart in preparation, so it is on the way
# back, although the stored grid's own coarsest axis is z.
APART = [
    (None, ISOTROPIC, ISOTROPIC),
    (1, (4.0, 1.0, 1.0), (1.0, 5.0, 1.0)),
    (0, (1.5, 1.0, 1.0), (5.0, 0.8, 0.8)),
]


@pytest.mark.parametrize(("axis", "spacing", "file_spacing"), APART)
@pytest.mark.parametrize("shape", [(51, 12, 40), (20, 40, 28), (9, 24, 31), (20, 24, 28)])
def test_streamed_scores_are_linear_and_left_out_only_where_low(
    image, shape, axis, spacing, file_spacing
):
    unit = ((image[0] - image[0].min()) / np.ptp(image[0])).astype(np.float32)
    unit[12:] *= 0.4  # slabs and corners that stay below
    unit[:, 15:] *= 0.4
    if axis is None:
        theirs = skimage_volume(unit.astype(float), shape, 1)
    else:
        theirs = slice_by_slice(unit, shape, axis, lambda s, p: skimage_volume(s, p, 1))
    everything = assembled(resample_scores(unit, shape, spacing, file_spacing, above=-1), shape)
    np.testing.assert_allclose(everything, theirs, atol=1e-6)
    found = assembled(resample_scores(unit, shape, spacing, file_spacing, above=0.5), shape)
    given = ~np.isnan(found)
    assert 0 < given.mean() < 0.95
    np.testing.assert_allclose(found[given], theirs[given], atol=1e-6)
    assert theirs[~given].max() <= 0.5


@pytest.mark.parametrize(
    ("shape", "file_spacing"),
    [((20, 24, 14), (1.0, 1.0, 4.0)), ((20, 9, 56), (1.0, 2.7, 1.0)), ((7, 8, 20), (3.0,) * 3)],
)
@pytest.mark.parametrize(
    "position", [(z, y, x) for z in (3, 9) for y in (4, 5, 6) for x in range(8)]
)
def test_a_voxel_that_a_coarser_file_passes_over_is_nowhere(shape, file_spacing, position):
    lone = np.zeros((20, 24, 56), np.float32)
    lone[position] = 1
    axis = 2 if file_spacing[2] == 4.0 else None
    if axis is None:
        theirs = skimage_volume(lone.astype(float), shape, 1)
    else:
        theirs = slice_by_slice(lone, shape, axis, lambda s, p: skimage_volume(s, p, 1))
    found = assembled(resample_scores(lone, shape, ISOTROPIC, file_spacing, above=0.25), shape)
    given = ~np.isnan(found)
    np.testing.assert_allclose(found[given], theirs[given], atol=1e-6)
    assert theirs[~given].max() <= 0.25


def test_half_precision_scores_are_taken_as_they_are(image):
    half = np.clip(image[0] / 2000 + 0.5, 0, 1).astype(np.float16)
    ours, theirs = (
        assembled(resample_scores(v, (31, 12, 40), ISOTROPIC, ISOTROPIC, -1), (31, 12, 40))
        for v in (half, half.astype(np.float32))
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("spacing", "other", "axis"),
    [
        ((5.0, 1.0, 1.0), ISOTROPIC, 0),
        ((1.0, 1.0, 3.5), ISOTROPIC, 2),
        ((3.0, 1.0, 1.0), ISOTROPIC, None),  # exactly 3 is not more than 3
        (ISOTROPIC, (1.0, 5.0, 1.0), 1),
        ((5.0, 1.0, 1.0), (1.0, 1.0, 9.0), 0),  # the file's spacing decides first
        ((5.0, 5.0, 1.0), (9.0, 1.0, 1.0), None),  # a tie is no coarsest axis
        (ISOTROPIC, ISOTROPIC, None),
    ],
)
def test_rule_of_the_separate_axis(spacing, other, axis):
    assert separate_axis(spacing, other) == axis


def test_shape_is_rounded_and_never_empty():
    assert resampled_shape((100, 512, 1), (2.5, 0.8, 0.1), (1.25, 1.0, 1.0)) == (200, 410, 1)


def test_same_shape_is_a_copy(image, labels):
    same = resample_image(image, image.shape[1:], ISOTROPIC, ISOTROPIC)
    np.testing.assert_array_equal(same, image)
    assert not np.shares_memory(same, image)
    np.testing.assert_array_equal(
        resample_labels(labels, labels.shape, ISOTROPIC, ISOTROPIC), labels
    )


def test_matrix_products_leave_the_other_cores_alone(monkeypatch):
    from threadpoolctl import threadpool_info, threadpool_limits

    from tsfm_pipeline.imaging import resampling

    used = []
    multiply = resampling._multiply

    def noted(*arguments):
        used.append({p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"})
        return multiply(*arguments)

    monkeypatch.setattr(resampling, "_multiply", noted)
    with threadpool_limits(2, user_api="blas"):
        resampling.resample_image(
            np.ones((1, 8, 8, 8), np.float32), (9, 9, 9), (1, 1, 1), (1, 1, 1)
        )
        assert {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"} == {2}
    assert used
    assert all(threads == {1} for threads in used)
