"""Which errors are the machine's, whatever is at hand."""

import errno
import os

import pytest
import torch

from tsfm_pipeline.machine import DEAD_GPU, fault_of_machine


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT])
def test_a_mount_that_is_gone_says_nothing_about_a_file(number: int) -> None:
    error = ValueError("unreadable")
    error.__cause__ = OSError(number, os.strerror(number), "/data/case.nii.gz")
    assert str(fault_of_machine(error)).startswith(f"/data/case.nii.gz: {os.strerror(number)}; ")
    assert fault_of_machine(OSError(errno.EIO, "Input/output error", "/data/case.nii.gz")) is None


def test_a_gpu_that_failed_fails_for_all() -> None:
    error = getattr(torch, DEAD_GPU)("CUDA error: an illegal memory access\nCompile with ...")
    found = str(fault_of_machine(error))
    assert found.startswith("the GPU failed (CUDA error: an illegal memory access); look at it")
    assert fault_of_machine(torch.OutOfMemoryError("CUDA out of memory")) is None
