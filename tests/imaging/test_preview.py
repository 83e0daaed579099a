from io import BytesIO

import numpy as np
from matplotlib.image import imread

from tsfm_pipeline.imaging.labels import OUTSIDE
from tsfm_pipeline.imaging.preview import slice_preview


def picture(*args, **kwargs):
    pixels = imread(BytesIO(slice_preview(*args, **kwargs)), format="png")[..., :3]
    return pixels, np.ptp(pixels, axis=-1) > 0.2  # coloured where it is not grey


def test_right_is_left_front_is_up_and_the_fullest_slice_is_shown():
    image = np.zeros((5, 40, 60), np.float32)
    image[3, :10, :15] = 100.0  # canonical low y is the front, low x the patient's right
    labels = np.zeros(image.shape, np.uint8)
    labels[3, 5:15, 40:55] = 5
    labels[1, 30:32, 3:5] = 5
    labels[0] = OUTSIDE
    pixels, coloured = picture(image, labels)
    height, width = coloured.shape
    assert width * 40 == height * 60
    assert pixels[height // 8, width // 8].mean() > 0.9
    assert pixels[-height // 8, width // 8].mean() < 0.1
    rows, columns = np.nonzero(coloured)
    np.testing.assert_allclose(
        [rows.min(), rows.max(), columns.min(), columns.max()],
        [height * 5 / 40, height * 15 / 40, width * 40 / 60, width * 55 / 60],
        atol=6,
    )


def test_proportions_follow_the_spacing_and_no_label_is_needed():
    pixels, coloured = picture(
        np.random.default_rng(0).normal(size=(3, 20, 20)),
        np.zeros((3, 20, 20), np.uint8),
        spacing=(1.0, 2.0, 1.0),
    )
    assert pixels.shape[0] == 2 * pixels.shape[1]
    assert not coloured.any()
