"""What a user can set about predicting scans."""

from typing import Literal

from pydantic import Field

from tsfm_pipeline.frozen import FrozenModel


class PredictSettings(FrozenModel):
    """How scans are predicted; the `tsfm-predict` command has an option for each.

    Attributes:
        targets: regions wanted; empty for all that the model knows.
        per_target: write a mask per target, too, with what lies in it.
        probabilities: write a map of each target's probability, too.
        statistics: measure the spread of each target's intensity, too.
        page: write a web page of each scan, and an index of them.
        modality: of files that do not say it themselves (all but DICOM); null lets the model and
            the intensities decide, see `loading.decide_modality`.
        fast: use the coarser model that the release keeps under `fast/`.
        mirror: average predictions of the mirrored scan, see `segment.mirror_axes`.
        device: where the network computes; auto takes a GPU if there is one.
        overwrite: predict again what is there and up to date.
        preview: draw a picture of every segmentation.
        dicom_seg: write a DICOM segmentation object beside the NIfTI file (DICOM input only).
        read_timeout: seconds that reading and preparing one scan may take; then it is a problem.
    """

    targets: tuple[str, ...] = ()
    per_target: bool = False
    probabilities: bool = False
    statistics: bool = False
    page: bool = False
    modality: Literal["CT", "MR"] | None = None
    fast: bool = False
    mirror: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    overwrite: bool = False
    preview: bool = True
    dicom_seg: bool = False
    read_timeout: float = Field(default=1800, gt=0)


class PredictRun(PredictSettings):
    """The parameters of the `predict` pipeline: what, where and how.

    Attributes:
        input: a file or a folder of scans.
        output: folder of the results.
        model: model folder, released or as training left it, or a released model's name; several
            are averaged.
    """

    input: str | None = None
    output: str | None = None
    model: str | tuple[str, ...] | None = None
