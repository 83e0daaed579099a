"""A DICOM segmentation object beside the DICOM series it was made of, through highdicom.

An extra: `pip install -e '.[dicom]'` in a checkout.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline import __version__
from tsfm_pipeline.files import write_atomically
from tsfm_pipeline.scans.label_files import label_colour
from tsfm_pipeline.scans.problem import ScanError


def require_highdicom() -> None:
    """Check that the extra is installed, before a scan is segmented in vain.

    Raises:
        ScanError: it is not.
    """
    if find_spec("highdicom") is None:
        raise ScanError(
            "DICOM segmentation objects need highdicom; pip install -e '.[dicom]' in the checkout,"
            " or leave out --dicom-seg"
        )


def write_dicom_seg(
    path: Path,
    files: Sequence[Path],
    labels_ZYX: NDArray[np.uint8],
    names: Mapping[int, str],
    model: str,
) -> None:
    """Write one binary segment per target that occurs; no file where none does.

    Args:
        path: the file to write.
        files: the series' slices in the order of the first axis of `labels_ZYX`.
        labels_ZYX: label integers on the series' own grid.
        names: label integer -> name.
        model: name of the model, kept in the object.

    Raises:
        ScanError: the series lacks what a segmentation object must refer to.
    """
    import highdicom as hd  # noqa: PLC0415 - an extra, and slow to load
    import pydicom  # noqa: PLC0415
    from pydicom.sr.codedict import codes  # noqa: PLC0415

    present = [value for value in names if (labels_ZYX == value).any()]
    if not present:
        return  # a segmentation object can't be empty
    sources = [pydicom.dcmread(file) for file in files]
    for source in sources:
        if not source.get("SpecificCharacterSet", "absent"):
            del source.SpecificCharacterSet  # highdicom takes an empty one for a wrong one
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=names[value],
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=hd.sr.CodedConcept(names[value][:16], "99TSFM", names[value]),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                name=model,
                version=__version__,
                family=codes.DCM.ArtificialIntelligence,
            ),
            display_color=hd.color.CIELabColor.from_rgb(*label_colour(value)),
        )
        for number, value in enumerate(present, start=1)
    ]
    masks_ZYXS = np.stack([labels_ZYX == value for value in present], axis=-1)
    try:
        written = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=masks_ZYXS.astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=hd.UID(),
            series_number=9000,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="tsfm-pipeline",
            manufacturer_model_name=model,
            software_versions=__version__,
            device_serial_number="0",
            series_description=f"Segmentation by {model}"[:64],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ScanError(
            f"no DICOM segmentation can be made of this series ({error}); leave out --dicom-seg"
        ) from error
    write_atomically(path, written.save_as)
