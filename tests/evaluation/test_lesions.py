import numpy as np

from tsfm_pipeline.evaluation.lesions import LesionCounts, count_lesions


def test_found_missed_and_made_up_lesions():
    reference, prediction = np.zeros((2, 10, 20, 20), bool)
    reference[2:5, 2:5, 2:5] = True  # found, twice
    prediction[2, 2, 2] = prediction[4, 4, 4] = True
    reference[2:5, 12:15, 2:5] = True  # missed, a voxel away
    prediction[2:5, 16:18, 2:5] = True
    reference[7, 2:4, 10:14] = True  # two lesions, found by one component
    reference[7, 6:8, 10:14] = True
    prediction[7, 2:8, 12] = True
    prediction[9, 19, 19] = True
    assert count_lesions(reference, prediction) == LesionCounts(4, 3, 2)


def test_corners_join_a_lesion():
    reference = np.zeros((4, 4, 4), bool)
    reference[0, 0, 0] = reference[1, 1, 1] = True
    assert count_lesions(reference, reference) == LesionCounts(1, 1, 0)


def test_nothing_and_no_voxels():
    for shape in ((3, 3, 3), (0, 0, 0)):
        empty = np.zeros(shape, bool)
        assert count_lesions(empty, empty) == LesionCounts(0, 0, 0)
