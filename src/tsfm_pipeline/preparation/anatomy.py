"""Does a label map look like a patient? Sides, heights and volumes of its targets.

A header that is wrong about left and right, labels that were renumbered or a wrong spacing leave
every file readable. Positions are along the patient's axes, as canonical grids have them: z to the
head, y to the back, x to the patient's left.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from tsfm_pipeline.imaging.labels import LabelError, LabelTable
from tsfm_pipeline.preparation.settings import AuditSettings

MOST_NAMED = 3
"""Pairs of targets that one doubt names."""

SPECK_ML = 1.0
"""What is smaller has no place: a few stray voxels of a model's mask lie anywhere."""

HEIGHT_TOLERANCE_MM = 20.0
"""How far a target may lie below one it should lie above: the edge of a scan moves the centres of
what it cuts."""

ORGANS_TOO = "; organs without a side are, too: the header is wrong about the scan"
ORGANS_NOT = "; organs without a side are not: the labels are exchanged"

Pair = tuple[str, str]


@dataclass(frozen=True)
class TargetPlace:
    """Where a target lies in a case, and how much of it there is.

    Attributes:
        centre: mm (z, y, x) of its centre.
        ml: its volume.
        at_edge: whether it touches the edge of the scan, so that part of it may be missing.
    """

    centre: tuple[float, float, float]
    ml: float
    at_edge: bool


@dataclass(frozen=True)
class Doubts:
    """What is odd about the labels of a case.

    Attributes:
        mirrored: a sentence where left and right are exchanged throughout; empty elsewhere.
        others: the other sentences.
    """

    mirrored: str
    others: tuple[str, ...]


def check_audit(settings: AuditSettings, table: LabelTable) -> None:
    """Refuse targets that the table does not know: a misspelt one would never be checked.

    Raises:
        LabelError: naming them.
    """
    known = {table.plain_name(name) for name in table.targets}
    levels = [name for level in settings.levels for name in level]
    named = [*settings.right_organs, *settings.left_organs, *levels, *settings.volume_ml]
    if unknown := sorted(set(named) - known):
        raise LabelError(f"audit: unknown target(s) {', '.join(unknown)}; correct the names")


def doubts_about(
    places: Mapping[str, TargetPlace], partners: Mapping[str, str], settings: AuditSettings
) -> Doubts:
    """Compare a case's targets with what a patient has.

    Every left target is compared with every right one, so one kidney and the adrenal gland of the
    other side tell sides, too. Sides are judged by targets that have one: in a patient with situs
    inversus the left kidney is still on the left, and only the organs without a side, such as liver
    and spleen, are exchanged. One transplanted or crossed kidney turns some pairs round, not all.

    Args:
        places: by target, those that occur in the case.
        partners: sided target -> the same of the other side (`LabelTable.side_partners`).
        settings: organs by side and height, and limits of volumes.
    """
    placed = {name: place for name, place in places.items() if place.ml >= SPECK_ML}
    left = [name for name in placed if name in partners and "left" in name.split("_")]
    right = [name for name in placed if name in partners and name not in left]
    sides = list(product(left, right))
    turned = [pair for pair in sides if not _left_of(*pair, placed)]
    organs = list(
        product(_present(settings.left_organs, placed), _present(settings.right_organs, placed))
    )
    inverse = bool(organs) and not any(_left_of(*pair, placed) for pair in organs)
    mirrored, others = "", []
    if sides and turned == sides:
        mirrored = f"left and right are exchanged: {_named(turned, 'lies right of')}"
        if organs:
            mirrored += ORGANS_TOO if inverse else ORGANS_NOT
    elif turned:
        others.append(f"{_named(turned, 'lies right of')}, unlike its other pairs")
    if inverse and not mirrored:
        others.append(f"{_named(organs, 'lies right of')}: a mirrored scan, or situs inversus")
    upside_down = [pair for pair in _heights(settings, placed) if _below(*pair, placed)]
    if upside_down:
        others.append(_named(upside_down, "lies below"))
    others += _volumes(places, settings.volume_ml)
    return Doubts(mirrored, tuple(others))


def _left_of(one: str, other: str, places: Mapping[str, TargetPlace]) -> bool:
    return places[one].centre[2] > places[other].centre[2]


def _below(one: str, other: str, places: Mapping[str, TargetPlace]) -> bool:
    return places[one].centre[0] < places[other].centre[0] - HEIGHT_TOLERANCE_MM


def _present(names: Sequence[str], places: Mapping[str, TargetPlace]) -> list[str]:
    return [name for name in names if name in places]


def _heights(settings: AuditSettings, places: Mapping[str, TargetPlace]) -> Iterator[Pair]:
    """Yield what should be the upper and the lower target of every two levels."""
    for number, upper in enumerate(settings.levels):
        for lower in settings.levels[number + 1 :]:
            yield from product(_present(upper, places), _present(lower, places))


def _volumes(
    places: Mapping[str, TargetPlace], limits: Mapping[str, tuple[float, float]]
) -> Iterator[str]:
    for name, place in places.items():
        least, most = limits.get(name, (0.0, float("inf")))
        if place.ml > most or (place.ml < least and not place.at_edge):
            yield f"{name} has {place.ml:.3g} ml, not {least:g} to {most:g}"


def _named(pairs: Sequence[Pair], relation: str) -> str:
    more = f" and {len(pairs) - MOST_NAMED} more" if pairs[MOST_NAMED:] else ""
    return ", ".join(f"{one} {relation} {other}" for one, other in pairs[:MOST_NAMED]) + more
