"""Along which axes a model may predict mirrored tiles, and what it then calls left and right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tsfm_pipeline.imaging.labels import LEFT_RIGHT
from tsfm_pipeline.model.card import ModelCard


@dataclass(frozen=True)
class Mirroring:
    """How some regions are predicted in mirrored tiles.

    Attributes:
        axes: those (0 = z, 1 = y, 2 = x) along which tiles may be mirrored.
        regions: what is found, in a tile mirrored left-right, where each of the regions is: the
            other kidney where they have sides.
    """

    axes: tuple[Literal[0, 1, 2], ...]
    regions: tuple[str, ...]


def mirroring_for(card: ModelCard, regions: Sequence[str]) -> Mirroring:
    """Return how a model predicts some of its regions in mirrored tiles.

    The axes are those that its training mirrored (nnU-Net's rule). Left-right is one of them for
    a model that predicts a side only if training exchanged the sides (`left_right: swap`), and if
    each of the regions has its other side in the model: training left out such cases, too.
    """
    augmentation, own = card.settings.augmentation, tuple(regions)
    sided = card.table.side_partners().keys() & set(card.table.exclusive_targets(card.regions))
    if not sided:
        return Mirroring(augmentation.mirror_axes, own)
    others = _other_sides(card)
    if augmentation.left_right == "swap" and others.keys() >= set(own):
        return Mirroring(augmentation.mirror_axes, tuple(others[region] for region in own))
    return Mirroring(tuple(axis for axis in augmentation.mirror_axes if axis != LEFT_RIGHT), own)


def _other_sides(card: ModelCard) -> dict[str, str]:
    """Map each region to the one of its targets' other sides; one without any stays itself."""
    partners = card.table.side_partners()
    members = {region: frozenset(card.table.region_targets(region)) for region in card.regions}
    others = {}
    for region, targets in members.items():
        mirrored = frozenset(partners.get(target, target) for target in targets)
        same = [name for name in (region, *members) if members[name] == mirrored]
        if same:
            others[region] = same[0]
    return others
