"""The fused label table: one integer per target, and the regions that become loss channels.

Paper section 2.1 ("each target has a unique label"); regions after MultiTalent (Ulrich et al.,
MICCAI 2023).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ModelWrapValidatorHandler, field_validator, model_validator

from tsfm_pipeline.frozen import FrozenModel

BACKGROUND = 0
OUTSIDE = 255
"""Stored label of voxels outside the image's nonzero mask (nnU-Net's -1)."""
LEFT_RIGHT = 2
"""The axis (z, y, x) along which sided targets change names in a mirror."""


class LabelError(ValueError):
    """A label value or name that the table does not know."""


class LabelTable(FrozenModel):
    """Targets with their unique integers, and regions as sets of targets.

    A target is what a voxel is stored as; a region is what the network predicts. Every target is
    a region of its own name unless `regions` lists more targets under that name. The FIRST target
    of a region decides who annotates it: `liver: [liver, liver_tumor]` is annotated by every
    dataset that labels liver, and not by one that labels only liver tumours.

    Datasets divide anatomy differently: what one labels `kidney`, another labels `kidney_left` and
    `kidney_right`. `compositions` says so. A case that annotates all parts of a region's first
    target supervises the region's channel, too. Knowing some of the parts is not enough: what
    is unknown of the others would be taught as background.

    The paper can be read in two ways. `merged` joins equally named targets of all datasets.
    `per_dataset` keeps a target per dataset and label, as MultiTalent (`MultiTalent_labels` and
    `MultiTalent_regions` of its Task100): a table of that reading has, once validated, targets and
    regions named `dataset/target`, with the integers of `per_dataset`; a dataset has those of the
    regions whose deciding target it labels, over the members that it labels.

    >>> table = LabelTable(
    ...     targets={"spleen": 1, "liver": 5, "liver_tumor": 25},
    ...     regions={"liver": ("liver", "liver_tumor")},
    ... )
    >>> table.region_ids("liver")
    (5, 25)
    >>> table.regions_annotated_by(["liver_tumor"])  # says nothing about the whole liver
    ('liver_tumor',)
    >>> table.collapse_order(["liver_tumor", "spleen", "liver"])
    ('liver', 'liver_tumor', 'spleen')
    >>> table = LabelTable(
    ...     targets={"kidney_right": 2, "kidney_left": 3, "kidney": 22, "kidney_tumor": 23},
    ...     regions={"kidney": ("kidney", "kidney_tumor")},
    ...     compositions={"kidney": ("kidney_left", "kidney_right")},
    ... )
    >>> table.regions_supervised_by(["kidney_left", "kidney_right"])
    ('kidney_right', 'kidney_left', 'kidney')
    >>> table.regions_supervised_by(["kidney_left"])
    ('kidney_left',)
    >>> table.composed_ids("kidney")
    (22, 23, 3, 2)

    Attributes:
        reading: which of the two.
        targets: target name -> stored integer, 1..254.
        regions: region name -> its targets.
        compositions: target -> the targets that others label in its place; it is their union. An
            empty list is none, and the reading `per_dataset`, which shares no target, has none.
        per_dataset: dataset -> target -> stored integer in the reading `per_dataset`. The integers
            are written down, so that one more dataset never changes those of the others.
    """

    reading: Literal["merged", "per_dataset"] = "merged"
    targets: dict[str, int]
    regions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    compositions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    per_dataset: dict[str, dict[str, int]] = Field(default_factory=dict)

    @field_validator("compositions")
    @classmethod
    def _without_empty(cls, given: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {target: parts for target, parts in given.items() if parts}

    @model_validator(mode="wrap")
    @classmethod
    def _in_its_reading(
        cls, data: Any, handler: ModelWrapValidatorHandler["LabelTable"]
    ) -> "LabelTable":
        table = handler(data)
        if table.reading == "per_dataset" and table.per_dataset:
            return handler(table._taken_apart())
        return table

    @model_validator(mode="after")
    def _consistent(self) -> "LabelTable":
        _check_ids("labels.targets", self.targets)
        for name in (*self.targets, *self.regions):
            if '"' in name or not name.isprintable():  # it would end a line of a label file early
                raise ValueError(f"labels: {name!r} has a quote or a control character; rename it")
        for region, members in self.regions.items():
            if not members:
                raise ValueError(f"labels.regions.{region} is empty")
            for member in members:
                if member not in self.targets:
                    raise ValueError(f"labels.regions.{region}: unknown target {member!r}")
        _check_compositions(self.compositions, self.targets)
        for dataset, targets in self.per_dataset.items():
            for name in targets:
                if name not in self.targets:
                    raise ValueError(f"labels.per_dataset.{dataset}: unknown target {name!r}")
        _check_ids("labels.per_dataset", self._per_dataset_targets())
        return self

    def _per_dataset_targets(self) -> dict[str, int]:
        return {
            _qualified(dataset, name): value
            for dataset, targets in self.per_dataset.items()
            for name, value in targets.items()
        }

    def _taken_apart(self) -> dict[str, Any]:
        """Return the fields of the table that keeps the datasets apart."""
        regions = {
            _qualified(dataset, region): tuple(
                _qualified(dataset, member) for member in members if member in targets
            )
            for dataset, targets in self.per_dataset.items()
            for region, members in self.regions.items()
            if members[0] in targets
        }
        return {
            "reading": self.reading,
            "targets": self._per_dataset_targets(),
            "regions": regions,
        }

    def target_of(self, dataset: str, name: str) -> str:
        """Return what a dataset's target is called in this reading; it may be unknown."""
        return name if self.reading == "merged" else _qualified(dataset, name)

    def plain_name(self, name: str) -> str:
        """Return a target's or region's name without the dataset, for tables that name it."""
        return name if self.reading == "merged" else name.partition("/")[2]

    def id_of(self, target: str) -> int:
        """Return the stored integer of a target; raise LabelError for an unknown name."""
        if target not in self.targets:
            key = "targets" if self.reading == "merged" else "per_dataset"
            raise LabelError(f"unknown target {target!r}; add it to labels.{key}")
        return self.targets[target]

    def region_targets(self, region: str) -> tuple[str, ...]:
        """Return the targets joined in a region, the deciding one first."""
        if region in self.regions:
            return self.regions[region]
        self.id_of(region)
        return (region,)

    def region_ids(self, region: str) -> tuple[int, ...]:
        """Return the stored integers joined in a region."""
        return tuple(self.targets[name] for name in self.region_targets(region))

    def regions_annotated_by(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Return, in table order, the regions whose deciding target is among `targets`."""
        given = set(targets)
        names = [*self.targets, *(name for name in self.regions if name not in self.targets)]
        return tuple(name for name in names if self.region_targets(name)[0] in given)

    def regions_supervised_by(self, targets: Sequence[str]) -> tuple[str, ...]:
        """Return, in table order, the regions whose mask is known where these are annotated.

        Besides `regions_annotated_by`, those whose deciding target is composed of some of them.
        """
        given = set(targets)
        composed = [name for name, parts in self.compositions.items() if given.issuperset(parts)]
        return self.regions_annotated_by([*targets, *composed])

    def composed_targets(self, region: str) -> tuple[str, ...]:
        """Return a region's targets, then the parts that others label in the place of one."""
        targets = self.region_targets(region)
        parts = (part for name in targets for part in self.compositions.get(name, ()))
        return tuple(dict.fromkeys((*targets, *parts)))

    def composed_ids(self, region: str) -> tuple[int, ...]:
        """Return the stored integers of `composed_targets`: of all voxels that are the region."""
        return tuple(self.targets[name] for name in self.composed_targets(region))

    def collapse_order(self, regions: Sequence[str]) -> tuple[str, ...]:
        """Order regions so that painting one after the other keeps the inner ones.

        Regions of many targets come first (organ before cyst and tumour), ties in table order.
        The painted value of a region is its deciding target's integer.
        """
        return tuple(sorted(regions, key=lambda name: -len(self.region_targets(name))))

    def exclusive_targets(self, regions: Sequence[str]) -> tuple[str, ...]:
        """Return the targets that regions consist of, in order of first appearance."""
        members = (name for region in regions for name in self.region_targets(region))
        return tuple(dict.fromkeys(members))

    def over(self, targets: Sequence[str]) -> "LabelTable":
        """Return the table in which regions consist of no other targets than these.

        For exclusive classes: where nothing is labelled `liver_tumor`, `liver` is one class. What
        is composed is no class.
        """
        regions = {
            region: tuple(name for name in members if name in targets)
            for region, members in self.regions.items()
            if members[0] in targets
        }
        return self.model_copy(update={"regions": regions, "compositions": {}})

    def composed_within(self, targets: Sequence[str]) -> "LabelTable":
        """Return the table with those compositions alone whose parts are all among these targets.

        So a training without such parts does not depend on them.
        """
        kept = {
            name: parts for name, parts in self.compositions.items() if set(parts) <= set(targets)
        }
        return self.model_copy(update={"compositions": kept})

    def side_partners(self) -> dict[str, str]:
        """Map every sided target (`left` or `right` in its name) to the other side's name.

        The partner may be a name that the table lacks: then the target can't be mirrored. A side in
        the name of a target's dataset says nothing.
        """
        other = {"left": "right", "right": "left"}
        partners = {}
        for name in self.targets:
            plain = self.plain_name(name)
            words = plain.split("_")
            if other.keys() & set(words):
                mirrored = "_".join(other.get(word, word) for word in words)
                partners[name] = f"{name.removesuffix(plain)}{mirrored}"
        return partners


def _qualified(dataset: str, name: str) -> str:
    return f"{dataset}/{name}"


def _check_ids(where: str, targets: Mapping[str, int]) -> None:
    seen: dict[int, str] = {}
    for name, value in targets.items():
        if not BACKGROUND < value < OUTSIDE:
            raise ValueError(f"{where}.{name}: {value} is not within 1..{OUTSIDE - 1}")
        if value in seen:
            raise ValueError(f"{where}: {name} and {seen[value]} share the id {value}")
        seen[value] = name


def _check_compositions(
    compositions: Mapping[str, Sequence[str]], targets: Mapping[str, int]
) -> None:
    for target, parts in compositions.items():
        where = f"labels.compositions.{target}"
        for name in (target, *parts):
            if name not in targets:
                raise ValueError(f"{where}: unknown target {name!r}")
        if composed := compositions.keys() & set(parts):
            raise ValueError(f"{where}: {min(composed)!r} is composed itself; name its parts")
        if len(parts) == 1:
            raise ValueError(f"{where} has one part; a union needs two or more")


def remap_values(
    labels: NDArray, mapping: Mapping[int, int], where: str = "label map"
) -> NDArray[np.uint8]:
    """Replace source label values by target integers through one lookup.

    >>> remap_values(np.array([0, 1, 2, 1]), {1: 5, 2: 25})
    array([ 0,  5, 25,  5], dtype=uint8)

    Args:
        labels: integer or integral float array of any shape; values of the source dataset.
        mapping: source value -> target integer; 0 stays background unless mapped.
        where: file name for the error message.

    Raises:
        LabelError: a value is not whole, or is neither 0 nor in the mapping.
    """
    whole = labels if np.issubdtype(labels.dtype, np.integer) else _whole_numbers(labels, where)
    if whole.size == 0:
        return np.zeros(labels.shape, np.uint8)
    full = {BACKGROUND: BACKGROUND, **mapping}
    lowest, highest = int(whole.min()), int(whole.max())
    if lowest < min(full) or highest > max(full):
        raise _unknown_values(whole, full, where)
    # One table look-up instead of a sort: a label map can have 10^8 voxels.
    codes = whole if lowest >= 0 else whole.astype(np.int64) - lowest
    offset = min(lowest, 0)
    lookup = np.zeros(highest - offset + 1, dtype=np.uint8)
    known = np.zeros(highest - offset + 1, dtype=bool)
    for value, target in full.items():
        if offset <= value <= highest:
            lookup[value - offset] = target
            known[value - offset] = True
    if not known.all():
        present = np.zeros_like(known)
        present[codes] = True
        if (present & ~known).any():
            raise _unknown_values(whole, full, where)
    return lookup[codes]


def present_values(labels: NDArray, known: Iterable[int], where: str = "label map") -> list[int]:
    """Return the values other than background that occur, ascending.

    Raises:
        LabelError: as `remap_values` with a mapping of the known values.
    """
    whole = labels if np.issubdtype(labels.dtype, np.integer) else _whole_numbers(labels, where)
    if whole.size == 0:
        return []
    full = dict.fromkeys((BACKGROUND, *known), BACKGROUND)
    lowest, highest = int(whole.min()), int(whole.max())
    if lowest < min(full) or highest > max(full):
        raise _unknown_values(whole, full, where)
    offset = min(lowest, 0)
    present = np.zeros(highest - offset + 1, dtype=bool)
    present[whole.astype(np.int64) - offset if offset else whole] = True
    values = [int(value) + offset for value in np.flatnonzero(present)]
    if not full.keys() >= set(values):
        raise _unknown_values(whole, full, where)
    return [value for value in values if value != BACKGROUND]


def _whole_numbers(labels: NDArray, where: str) -> NDArray[np.int64]:
    """Round floats that are whole up to 1e-3 (scaled headers leave such dust)."""
    rounded = np.rint(labels)
    with np.errstate(invalid="ignore"):  # inf - inf and NaN fail the comparison, as they should
        whole = np.abs(labels - rounded) <= 1e-3
    if not whole.all():
        odd = labels[~whole][0]
        raise LabelError(
            f"{where}: label value {odd} is not a whole number; is this an image or a probability"
            " map instead of a label map?"
        )
    return np.asarray(np.clip(rounded, -(2.0**31), 2.0**31), dtype=np.int64)


def _unknown_values(whole: NDArray, known: Mapping[int, int], where: str) -> LabelError:
    values = [int(value) for value in np.unique(whole) if int(value) not in known]
    shown = ", ".join(map(str, values[:8])) + (f", ... ({len(values)})" if values[8:] else "")
    return LabelError(
        f"{where}: label value(s) {shown} are not in this dataset's table ({sorted(known)});"
        " map each to a target, or to null to drop it"
    )
