"""Segment scans from the command line: `tsfm-predict -i scans -o segmentations -m weights`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tsfm_pipeline.scans.run import RunSummary

_EPILOG = """\
input:   a .nii, .nii.gz, .nrrd, .mha or .mhd file, a DICOM file or folder, or a folder of all these
output:  NAME.nii.gz (labels on the scan's own grid), NAME.png (preview), NAME.json per scan;
         volumes.csv, problems.csv, labels.txt (ITK-SNAP) and labels.ctbl (3D Slicer) for the run
The same command goes on where it was stopped. Exit status: 0 all well, 1 some scans or files could
not be segmented (problems.csv says why), 2 the run could not start or not go on.
Not a medical device."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parse = argparse.ArgumentParser(
        prog="tsfm-predict",
        description="Segment CT and MR scans with a TSFM model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parse.add_argument
    add("-i", "--input", type=Path, required=True, help="file or folder of scans")
    add("-o", "--output", type=Path, required=True, help="folder of the segmentations")
    add("-m", "--model", type=Path, required=True, help="folder of a released or trained model")
    add("--targets", default="", metavar="A,B", help="only these regions, with commas between")
    add("--modality", choices=("CT", "MR"), help="of files, where the model knows both")
    add("--fast", action="store_true", help="use the release's coarser model")
    add("--mirror", action="store_true", help="average in mirrored scans; 2 to 8 times the time")
    add("--part", type=part, default=(1, 1), metavar="I/N", help="only the I-th of N parts")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    add("--overwrite", action="store_true", help="do finished scans again, replace other files")
    add("--no-preview", action="store_true", help="draw no pictures")
    add("--dicom-seg", action="store_true", help="write NAME.seg.dcm for DICOM input, too")
    add("--read-timeout", type=float, default=1800, metavar="SECONDS", help="to read one scan")
    return parse


def part(text: str) -> tuple[int, int]:
    """Read `2/8`, the second of eight parts."""
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part; the second of eight is 2/8")
    return int(number), int(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = parser().parse_args(arguments)
    # Before torch loads its threads: spinning while they wait, they slow other busy processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Heavy imports wait until the arguments are known to be right.
    from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

    from tsfm_pipeline.scans.run import predict_folder  # noqa: PLC0415
    from tsfm_pipeline.scans.settings import PredictSettings  # noqa: PLC0415

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    settings = PredictSettings(
        targets=tuple(filter(None, given.targets.replace(" ", "").split(","))),
        modality=given.modality,
        fast=given.fast,
        mirror=given.mirror,
        device=given.device,
        overwrite=given.overwrite,
        preview=not given.no_preview,
        dicom_seg=given.dicom_seg,
        read_timeout=given.read_timeout,
    )
    try:
        with logging_redirect_tqdm():
            summary = predict_folder(
                given.input, given.output, given.model, settings, part=given.part
            )
    except ValueError as error:
        print(f"tsfm-predict: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"tsfm-predict: {error.filename or given.output}: {error.strerror or error}; the input"
            " and the model must be readable, the output folder writable and its disk not full."
            " Finished scans are kept, the same command goes on",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(
            "tsfm-predict: stopped; finished scans are kept, the same command goes on",
            file=sys.stderr,
        )
        return 130
    report(summary, given.output)
    return 1 if summary.failed else 0


def report(summary: "RunSummary", output: Path) -> None:
    """Print notes and problems to stderr, and the volumes of this run's scans to stdout."""
    for scan, notes in summary.notes.items():
        for note in notes:
            print(f"note: {scan}: {note}", file=sys.stderr)
    for row in summary.problems.itertuples():
        print(f"{row.verdict}: {row.file}: {row.reason}; {row.remedy}", file=sys.stderr)
    scans = [*summary.kept, *summary.segmented]
    table = summary.volumes[summary.volumes["scan"].isin(scans) & (summary.volumes["voxels"] > 0)]
    if not table.empty:
        shown = table[["scan", "target", "volume_ml", "mean_intensity"]]
        print(shown.to_string(index=False, max_rows=40))
    print(
        f"{len(summary.segmented)} segmented, {len(summary.kept)} finished before,"
        f" {summary.failed} failed, {len(summary.problems) - summary.failed} skipped;"
        f" results in {output}"
    )


if __name__ == "__main__":
    sys.exit(main())
