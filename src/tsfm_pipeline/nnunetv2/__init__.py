"""The real nnU-Net v2 as an engine: it plans, trains and predicts in an environment of its own.

Its package never enters ours (it needs torchvision): `make nnunet` makes its environment, and
`script.py` runs there.
"""

from tsfm_pipeline.nnunetv2.engine import NnunetError, run_nnunetv2
from tsfm_pipeline.nnunetv2.task import NnunetTask

__all__ = ["NnunetError", "NnunetTask", "run_nnunetv2"]
