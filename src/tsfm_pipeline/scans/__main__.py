"""Segment scans from the command line: `tsfm-predict -i scans -o segmentations -m weights`."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsfm_pipeline import __version__
from tsfm_pipeline.machine import MachineError

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
    parse.add_argument("--version", action="version", version=f"tsfm-predict {__version__}")
    add = parse.add_argument_group("what").add_argument
    add("-i", "--input", type=Path, required=True, help="file or folder of scans")
    add("-o", "--output", type=Path, required=True, help="folder, or out.nii.gz for a single scan")
    add(
        *("-m", "--model"),
        nargs="+",
        required=True,
        help="folder of a trained model, or a released model's name; several are averaged",
    )
    add("--targets", nargs="+", default=[], metavar="NAME", help="only these; default: all")
    add("--modality", choices=("CT", "MR"), help="of files, where the model knows both")
    add("--part", type=part, default=(1, 1), metavar="I/N", help="only the I-th of N parts")
    add = parse.add_argument_group("how").add_argument
    add("--fast", action="store_true", help="use the release's coarser model")
    add("--mirror", action="store_true", help="average in mirrored scans; 2 to 8 times the time")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    add("--overwrite", action="store_true", help="do finished scans again, replace other files")
    add("--read-timeout", type=float, default=1800, metavar="SECONDS", help="to read one scan")
    add = parse.add_argument_group("results besides the label map").add_argument
    add(
        "--per-target", action="store_true", help="a mask NAME_targets/TARGET.nii.gz of each target"
    )
    add("--probabilities", action="store_true", help="NAME_targets/TARGET_probability.nii.gz")
    add("--statistics", action="store_true", help="spread and percentiles of HU: statistics.csv")
    add("--page", action="store_true", help="NAME.html to look at each scan, and index.html")
    add(
        "--preview",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a picture NAME.png of each scan; it is drawn unless --no-preview is given",
    )
    add("--dicom-seg", action="store_true", help="NAME.seg.dcm for DICOM input")
    add("-q", "--quiet", action="store_true", help="print warnings and problems only")
    add("--json", action="store_true", help="print the results as JSON to stdout")
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
    handler = signal.signal(signal.SIGTERM, _interrupt)
    # Before torch loads its threads: spinning while they wait, they slow other busy processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        summary = _predict(given)
    except (ValueError, MachineError) as error:
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
    finally:
        signal.signal(signal.SIGTERM, handler)
    report(summary, str(given.output), only_problems=given.quiet, tables=not given.json)
    if given.json:
        print(report_json(summary))
    return 1 if summary.failed else 0


def _predict(given: argparse.Namespace) -> "RunSummary":
    # Heavy imports wait until the arguments are known to be right.
    from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

    from tsfm_pipeline.scans.run import predict_folder  # noqa: PLC0415
    from tsfm_pipeline.scans.settings import PredictSettings  # noqa: PLC0415

    settings = PredictSettings(
        targets=tuple(filter(None, ",".join(given.targets).split(","))),
        per_target=given.per_target,
        probabilities=given.probabilities,
        statistics=given.statistics,
        page=given.page,
        modality=given.modality,
        fast=given.fast,
        mirror=given.mirror,
        device=given.device,
        overwrite=given.overwrite,
        preview=given.preview,
        dicom_seg=given.dicom_seg,
        read_timeout=given.read_timeout,
    )
    with _no_bars() if given.quiet else logging_redirect_tqdm():
        return predict_folder(given.input, given.output, given.model, settings, part=given.part)


def _interrupt(*_: object) -> None:
    """Let a job that is cancelled end as one that is interrupted, its reader process with it."""
    raise KeyboardInterrupt


def _no_bars() -> AbstractContextManager[object]:
    """Let progress bars think that nobody looks: they draw to `sys.stderr`, the log does not."""
    return redirect_stderr(StringIO())


def report(summary: "RunSummary", results: str, *, only_problems: bool, tables: bool) -> None:
    """Print model, warnings, notes and problems to stderr, and volumes to stdout.

    Args:
        summary: of the run.
        results: where they are, in words.
        only_problems: leave out all but warnings and problems.
        tables: print to stdout.
    """
    if not only_problems:
        print(f"model: {summary.model}", file=sys.stderr)
    for warning in summary.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    for scan, notes in summary.notes.items():
        for note in () if only_problems else notes:
            print(f"note: {scan}: {note}", file=sys.stderr)
    for row in summary.problems.itertuples():
        print(f"{row.verdict}: {row.file}: {row.reason}; {row.remedy}", file=sys.stderr)
    if only_problems or not tables:
        return
    found = summary.volumes[summary.volumes["scan"].isin(list(summary.records))]
    found = found[found["voxels"] > 0]
    if not found.empty:
        shown = found[["scan", "target", "volume_ml", "mean_intensity", "includes"]]
        print(shown.to_string(index=False, max_rows=40))
    where = f"; results in {results}" if summary.segmented or summary.kept else ""
    print(
        f"{len(summary.segmented)} segmented, {len(summary.kept)} finished before,"
        f" {summary.failed} failed, {len(summary.problems) - summary.failed} skipped{where}"
    )


def report_json(summary: "RunSummary") -> str:
    """Return the run as one JSON document."""
    document: dict[str, Any] = {
        "segmented": summary.segmented,
        "kept": summary.kept,
        "model": summary.model,
        "warnings": summary.warnings,
        "problems": summary.problems.to_dict("records"),
        "scans": {
            name: {
                "files": record.files,
                "modality": record.modality,
                "notes": record.notes,
                "targets": record.statistics or record.volumes,
            }
            for name, record in summary.records.items()
        },
    }
    return json.dumps(document, indent=1)


if __name__ == "__main__":
    sys.exit(main())
