from io import BytesIO

import matplotlib.image
import numpy as np

from tsfm_pipeline.scans.label_files import label_colour
from tsfm_pipeline.scans.overlay import draw_overlay

ROW = {"target": "liver", "label": 5, "includes": "", "voxels": 126, "volume_ml": 1.0}


def test_right_is_left_front_and_head_are_up_and_proportions_are_in_mm():
    shape, spacing = (20, 40, 40), (4.0, 1.0, 2.0)  # 80 x 40 x 80 mm
    image = np.full(shape, -160.0, np.float32)
    labels = np.zeros(shape, np.uint8)
    labels[15:18, 4:10, 5:12] = 5  # towards the head, the front and the patient's right
    picture = matplotlib.image.imread(
        BytesIO(draw_overlay(image, labels, spacing, [ROW], "CT", "scan"))
    )
    height, width = picture.shape[:2]
    colour = np.array(label_colour(5)) / 255
    hit = np.abs(picture[..., :3] - colour).max(axis=-1) < 0.1
    # planes of 80, 80 and 40 mm beside one another, then the legend
    inches = [4.2, 4.2, 2.1]
    left = 0.3
    outlines = []
    for plane in inches:
        part = hit[:, round(left * 110) : round((left + plane) * 110)]
        rows, columns = np.nonzero(part)
        outlines.append((rows.mean() / height, columns.mean() / part.shape[1]))
        left += plane + 0.3
    axial, coronal, sagittal = outlines
    assert 0.12 < axial[1] < 0.32  # voxels 5..12 of 40 across
    assert axial[0] < 0.5  # front up
    assert 0.12 < coronal[1] < 0.32
    assert coronal[0] < 0.4  # head up
    assert 0.07 < sagittal[1] < 0.27  # voxels 4..10 of 40: front on the left
    assert sagittal[0] < 0.4
    assert hit[:, round(left * 110) :].any()  # the legend's line
    assert width > 4 * 110


def test_an_empty_segmentation_and_a_flat_image_are_drawn_too():
    zeros = np.zeros((3, 8, 8), np.float32)
    for modality in ("CT", "MR"):
        data = draw_overlay(zeros, zeros.astype(np.uint8), (5.0, 1.0, 1.0), [], modality, "s")
        assert data[:4] == b"\x89PNG"
