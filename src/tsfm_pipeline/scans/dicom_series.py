"""DICOM series: which slices belong together, and whether they make one regular volume.

A series whose slices leave a question open is refused, with everything that is wrong with it: a
guessed volume would be segmented without a word and be wrong.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.files.digest import file_digest
from tsfm_pipeline.scans.dicom import Slice, frames_of, normal_of, place_of
from tsfm_pipeline.scans.problem import NoScan, ScanError

DUPLICATE_MM = 1e-2
LARGEST_ERROR_MM = 0.5
"""How far a slice may lie from where even steps put it; half a step where that is less."""
ROUNDED_MM = 0.1
"""Positions written with one decimal are off by half of it, and so are the ends; more is noted."""
DIRECTION_TOLERANCE = 1e-3

Fault = tuple[str, str]
"""What is wrong with a series, and the remedy."""


def group_series(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Group slices by their series, in order of the series' first files."""
    series = defaultdict(list)
    for one in slices:
        series[one.series].append(one)
    return list(series.values())


def scan_modality(series: Sequence[Slice]) -> Literal["CT", "MR"]:
    """Return the modality of a series.

    Raises:
        NoScan: it is a localizer, or of a modality that no model here knows.
    """
    first = series[0]
    if "LOCALIZER" in first.kind.upper().split("\\"):
        raise NoScan("a localizer; nothing to do")
    if first.modality == "CT":
        return "CT"
    if first.modality == "MR":
        return "MR"
    raise NoScan(f"DICOM modality {first.modality or 'not stated'}; models know CT and MR only")


def order_slices(series: Sequence[Slice]) -> tuple[list[Slice], tuple[str, ...]]:
    """Order the slices of a series along its axis, from the first to the last position.

    Returns:
        The slices, copies left out, and what the user should know about them.

    Raises:
        NoScan: it is a single screenshot.
        ScanError: they do not make one regular right-angled volume; the message has every reason.
    """
    series, notes = _without_copies(series)
    first = series[0]
    if len(series) == 1:
        if first.frames == 1 and first.secondary:
            raise NoScan("a single secondary capture (a screenshot), not a scan; nothing to do")
        if first.frames == 1:
            raise ScanError(
                "the series has a single slice in this folder; put all slices of a series into one"
                " folder"
            )
        return [first], (*notes, *_check_frames(first))
    if any(one.frames > 1 for one in series):
        raise ScanError("several multi-frame files in one series; give each a folder of its own")
    ordered, noted = _stack(series)
    return ordered, (*notes, *noted)


def _check_frames(one: Slice) -> list[str]:
    """Say what is worth a note of a multi-frame file; raise ScanError where it is no volume."""
    frames = frames_of(one)
    ordered, notes = _stack(frames)
    stored = [frame.path for frame in frames]
    if [frame.path for frame in ordered] not in (stored, stored[::-1]):
        raise ScanError(
            f"the frames of {one.path.name} are not stored in the order of their positions; export"
            " it with one frame a file"
        )
    return notes


def _stack(series: Sequence[Slice]) -> tuple[list[Slice], list[str]]:
    """Order slices or frames by position; see `order_slices`."""
    first = series[0]
    faults = list(_odd_slices(series))
    normal = normal_of(first)
    positions = np.array([place_of(one).position for one in series])
    depth = positions @ normal
    order = np.argsort(depth, kind="stable")
    ordered = [series[i] for i in order]
    uneven, noted = _uneven([one.path.name for one in ordered], depth[order])
    faults += uneven
    sideways = positions - positions[0] - np.outer(depth - depth[0], normal)
    if np.linalg.norm(sideways, axis=1).max() > 0.5 * place_of(first).spacing.min():
        faults.append(
            (
                "the slices slide sideways (tilted gantry)",
                "resample the series onto a right-angled grid, as dcm2niix does",
            )
        )
    if faults:
        reasons, remedies = zip(*faults, strict=True)
        raise ScanError(f"{'; also '.join(reasons)}; {', and '.join(dict.fromkeys(remedies))}")
    return ordered, noted


def _without_copies(series: Sequence[Slice]) -> tuple[list[Slice], tuple[str, ...]]:
    """Leave out files with the bytes of an earlier one; only files at one place are compared."""
    alike: dict[tuple, list[Slice]] = defaultdict(list)
    for one in series:
        at = None if one.place is None else tuple(one.place.position)
        alike[at, one.path.stat().st_size].append(one)
    copies: list[Slice] = []
    for group in alike.values():
        seen = set()
        for one in group if len(group) > 1 else []:
            digest = file_digest(one.path)
            if digest in seen:
                copies.append(one)
            seen.add(digest)
    if not copies:
        return list(series), ()
    note = f"{len(copies)} file(s) left out, byte for byte copies of others: {copies[0].path.name}"
    left_out = {one.path for one in copies}
    return [one for one in series if one.path not in left_out], (
        note + (", ..." if len(copies) > 1 else ""),
    )


def _odd_slices(series: Sequence[Slice]) -> Iterator[Fault]:
    """Say in which ways slices differ from the first one, one example each."""
    first = series[0]
    place = place_of(first)
    other = [one for one in series if one.patient != first.patient]
    if other:
        yield (
            f"{first.path.name} and {other[0].path.name} have different patient IDs",
            "export each patient as a series of its own",
        )
    remedy = "export the two stacks as series of their own"
    for one in series:
        if one.size != first.size or not np.allclose(
            place_of(one).spacing, place.spacing, rtol=1e-3
        ):
            yield (
                f"{one.path.name} has another size or pixel spacing ({one.size},"
                f" {place_of(one).spacing} mm) than {first.path.name} ({first.size},"
                f" {place.spacing} mm)",
                remedy,
            )
            break
    for one in series:
        if np.abs(place_of(one).orientation - place.orientation).max() > DIRECTION_TOLERANCE:
            yield f"{one.path.name} is turned against {first.path.name}", remedy
            break


def _uneven(names: Sequence[str], depth: NDArray[np.float64]) -> tuple[list[Fault], list[str]]:
    """Say what is wrong with the slices' distances, and what is only worth a note.

    Slices are written with even steps from the first to the last. What counts is how far that
    puts one from its place: 400 gaps that are 4 % off may add up to millimetres, and a gap of
    0.7 mm among those of 0.6 mm may be rounded.

    Args:
        names: of the files, in order.
        depth: their positions along the axis in mm, rising.
    """
    faults: list[Fault] = []
    twice = np.flatnonzero(np.diff(depth) < DUPLICATE_MM)
    if len(twice):
        at = int(twice[0])
        faults.append(
            (
                f"{names[at]} and {names[at + 1]} lie at the same place ({len(twice)} such"
                " pair(s))",
                "export each phase or acquisition as a series of its own",
            )
        )
        names = [name for number, name in enumerate(names) if number - 1 not in twice]
        depth = np.delete(depth, twice + 1)
    if len(depth) < 2:
        return faults, []
    steps = np.diff(depth)
    usual, mean = float(np.median(steps)), float(steps.mean())
    limit = min(LARGEST_ERROR_MM, usual / 2)
    off = np.abs(depth - depth[0] - mean * np.arange(len(depth)))
    wrong = np.flatnonzero(np.abs(steps - usual) > limit)
    if not len(wrong) and off.max() <= limit:
        if off.max() <= ROUNDED_MM:
            return faults, []
        return faults, [
            f"slices are {steps.min():.2f} to {steps.max():.2f} mm apart, taken as"
            f" {mean:.2f} mm: that moves them by up to {off.max():.2f} mm"
        ]
    ratios = steps[wrong] / usual
    if len(wrong) and ratios.min() > 1.5 and np.abs(ratios - np.rint(ratios)).max() < 0.1:
        at = int(wrong[0])
        faults.append(
            (
                f"{int(np.rint(ratios - 1).sum())} slice(s) missing, the first after {names[at]}"
                f" ({steps[at]:.2f} mm to the next, others are {usual:.2f} mm apart)",
                "transfer the series again",
            )
        )
        return faults, []
    at = int(off.argmax())
    faults.append(
        (
            f"slices are {steps.min():.2f} to {steps.max():.2f} mm apart, up to {off.max():.2f} mm"
            f" from where even steps of {mean:.2f} mm put them ({names[at]}; {limit:.2f} mm are"
            " taken)",
            "resample the series onto even distances, or export its stacks apart",
        )
    )
    return faults, []
