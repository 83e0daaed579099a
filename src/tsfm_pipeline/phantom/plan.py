"""What will be written: cases of a dataset, their field of view and their files, as plain data.

A layout (one module per publisher in `layouts`) turns a number of cases into a `LayoutPlan`;
nothing is rendered or written before every plan is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tsfm_pipeline.phantom.shapes import Point

Range = tuple[float, float]
TORSO_WIDTH = (-124.0, 124.0)
TORSO_DEPTH = (-91.0, 91.0)
"""mm of the body frame that a CT's field of view covers along x and y."""


@dataclass(frozen=True)
class View:
    """How patients are scanned in a dataset.

    Attributes:
        lower: lower corner (x, y, z) of the field of view, mm of the body frame.
        upper: its upper corner.
        slice_spacing: range of the spacing along z, mm.
        pixel_spacing: range of the spacing along x and y, mm.
        orientations: axis codes of the file (direction of increasing index, as in nibabel), one
            drawn per case.
        origin: world point (x, y, z) LPS of the file's first voxel; None draws one.
        lesions: least and most lesions per kind.
        gain: powers of ten between which the unit of an MR image is drawn.
        body: what is scanned.
        breasts: whether the patients have breasts (lying face down).
    """

    lower: Point
    upper: Point
    slice_spacing: Range
    pixel_spacing: Range
    orientations: tuple[str, ...] = ("RAS",)
    origin: Point | None = None
    lesions: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    gain: Range = (0.0, 0.0)
    body: Literal["torso", "head"] = "torso"
    breasts: bool = False


def torso_view(
    bottom: float, top: float, slice_spacing: Range, pixel_spacing: Range
) -> tuple[Point, Point, Range, Range]:
    """Return the first four fields of a View over the torso from `bottom` to `top` mm."""
    lower = (TORSO_WIDTH[0], TORSO_DEPTH[0], bottom)
    upper = (TORSO_WIDTH[1], TORSO_DEPTH[1], top)
    return lower, upper, slice_spacing, pixel_spacing


@dataclass(frozen=True)
class ImageFile:
    """An image to render.

    Attributes:
        path: relative to the dataset's folder.
        contrast: key of `CONTRASTS`.
        dtype: numpy type in the file; whole numbers are rounded.
    """

    path: str
    contrast: str = "ct"
    dtype: Literal["int16", "float32"] = "int16"


@dataclass(frozen=True)
class LabelMapFile:
    """A label map to paint.

    Attributes:
        path: relative to the dataset's folder.
        values: fused target name -> value in the file.
        dtype: numpy type in the file.
        grow: mm by which the annotator drew too large (negative: too small).
    """

    path: str
    values: Mapping[str, int]
    dtype: Literal["uint8", "uint16", "int16"] = "uint8"
    grow: float = 0.0


@dataclass(frozen=True)
class PhantomCase:
    """One scan of one made-up patient.

    Attributes:
        dataset: name of the dataset.
        case: identifier within the dataset.
        patient: who is scanned; equal patients in equal views give equal images.
        view: how.
        images: one file per channel.
        labels: label files; none for a test case.
        annotated: fused targets that the dataset's case annotates.
    """

    dataset: str
    case: str
    patient: str
    view: View
    images: tuple[ImageFile, ...]
    labels: tuple[LabelMapFile, ...] = ()
    annotated: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file of the case, relative to the dataset's folder."""
        return (*(file.path for file in self.images), *(file.path for file in self.labels))


@dataclass(frozen=True)
class LayoutPlan:
    """One dataset on disk.

    Attributes:
        folder: relative to the phantom root.
        cases: labelled cases and test cases.
        texts: further files (JSON, CSV, AppleDouble twins): path in the folder -> content.
    """

    folder: str
    cases: tuple[PhantomCase, ...]
    texts: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file of the dataset, relative to the phantom root."""
        inner = [path for case in self.cases for path in case.paths] + list(self.texts)
        return tuple(f"{self.folder}/{path}" for path in inner)
