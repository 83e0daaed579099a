"""Whole files or an error, whatever the system does to ITK."""

import errno
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from tsfm_pipeline.imaging.nifti_writing import write_nifti

LIMITED = """
import resource, sys
from pathlib import Path
import SimpleITK as sitk
from tsfm_pipeline.imaging.nifti_writing import write_nifti
image = sitk.ReadImage(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    write_nifti(Path(sys.argv[2]), image)
except OSError as error:
    print(error.errno, error.filename)
"""


def noise(components: int) -> sitk.Image:
    shape = (20, 21, 22, components) if components > 1 else (20, 21, 22)
    array = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    image = sitk.GetImageFromArray(array, isVector=components > 1)
    image.SetSpacing((1.0, 2.0, 3.0))
    return image


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_holds_what_itk_writes(name, components, tmp_path):
    image = noise(components)
    write_nifti(tmp_path / name, image)
    sitk.WriteImage(image, str(tmp_path / f"itk_{name}"), useCompression=True)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"itk_{name}").read_bytes()


# of about 9,600 bytes: nothing but the header, a part, all but gzip's last words
@pytest.mark.parametrize("limit", [200, 4000, 9000])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_short_file_is_an_error_of_the_system(name, limit, tmp_path):
    sitk.WriteImage(noise(1), str(tmp_path / "image.mha"))
    (tmp_path / "to").mkdir()
    path = tmp_path / "to" / name
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "image.mha"), str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{errno.EFBIG} {path}"
    assert not list(path.parent.iterdir())
