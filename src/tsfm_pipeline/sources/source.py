"""The one interface of all raw datasets: a source lists cases and opens nothing for writing."""

import logging
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from tsfm_pipeline.files import as_utf8
from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.sources.label_names import renumbered
from tsfm_pipeline.sources.listing import not_utf8, unusable_name

logger = logging.getLogger(__name__)

Modality = Literal["CT", "MR"]

LEFT_OUT = "left out: "
"""Begins the problem of a case that `left_out` names."""


class SourceError(ValueError):
    """A raw dataset that is not where, or not what, its settings say."""


@dataclass(frozen=True)
class LabelFile:
    """One label file: an integer map, or the binary mask of one named class.

    Attributes:
        path: the file.
        class_name: None for an integer map; else the source's class name (a key of `labels`).
    """

    path: Path
    class_name: str | None = None


@dataclass(frozen=True)
class SourceCase:
    """One labelled case as it lies on disk.

    Attributes:
        dataset: name of the dataset entry.
        case: identifier, unique within the dataset.
        patient: identifier shared by scans of one patient, also across datasets when known.
        modality: CT or MR.
        images: one file per channel, in channel order.
        labels: its label files.
        problem: why the case can't be used, with file, value and remedy; empty when it can.
    """

    dataset: str
    case: str
    patient: str
    modality: Modality
    images: tuple[Path, ...]
    labels: tuple[LabelFile, ...]
    problem: str = ""

    @property
    def key(self) -> str:
        """Name of the case in the pool: `dataset/case`."""
        return f"{self.dataset}/{self.case}"

    @property
    def is_left_out(self) -> bool:
        """Whether the settings leave it out (`datasets.*.left_out`)."""
        return self.problem.startswith(LEFT_OUT)


class Source(FrozenModel):
    """Settings and reader of one dataset. Subclasses name a `layout` and implement `list_cases`.

    Its name is the key that it has in `Datasets`, so it is no setting of its own; a source made
    otherwise gets one from `named`.

    Attributes:
        folder: where the dataset lies, relative to the raw root.
        labels: source label value (or class name) -> target name; null drops the value.
        published_names: label value -> the publisher's name of it, where that is spelt otherwise
            than the target; dataset.json is compared with both.
        unannotated: targets of `labels` that the cases of a modality do not annotate.
        left_out: case -> why it is not used; null uses it.
        expected_cases: usable cases of the public release; a mismatch is a warning.
        url: where to download it.
        licence: licence or terms of the data.
        expects: the files that this layout looks for, for error messages.
        class_files: whether labels lie in one file per class, so that keys of `labels` are names.
    """

    expects: ClassVar[str]
    class_files: ClassVar[bool] = False

    folder: str
    labels: dict[int | str, str | None]
    published_names: dict[int, str] = Field(default_factory=dict)
    unannotated: dict[Modality, tuple[str, ...]] = Field(default_factory=dict)
    left_out: dict[str, str | None] = Field(default_factory=dict)
    expected_cases: int | None = None
    url: str = ""
    licence: str = ""

    _name: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _label_keys(self) -> "Source":
        wanted, kind = (str, "class name") if self.class_files else (int, "whole number")
        for key in self.labels:
            if not isinstance(key, wanted):
                raise ValueError(f"labels: key {key!r} of this layout must be a {kind}")
        targets = set(self.labels.values())
        for modality, names in self.unannotated.items():
            for name in names:
                if name not in targets:
                    raise ValueError(f"unannotated.{modality}: {name!r} is no target of `labels`")
        return self

    @property
    def name(self) -> str:
        """Name of the dataset entry."""
        if not self._name:
            raise ValueError(f"the source of {self.folder} has no name; see `Source.named`")
        return self._name

    def named(self, name: str) -> Self:
        """Return this source under a name."""
        source = self.model_copy()
        source._name = name
        return source

    @abstractmethod
    def list_cases(self, root: Path) -> Iterable[SourceCase]:
        """Yield the labelled cases below `root`, in any order.

        A case that lacks a file is yielded with its `problem`. Hidden files (AppleDouble twins)
        are passed over.
        """

    def patient_of(self, case: str) -> str:
        """Return the patient of a case: one of its own, unless the layout knows better."""
        return f"{self.name}/{case}"

    def make_case(
        self,
        case: str,
        modality: Modality,
        images: tuple[Path, ...],
        labels: tuple[LabelFile, ...],
        problem: str = "",
    ) -> SourceCase:
        """Return a case of this dataset; see `SourceCase`. Its names may be a problem, too."""
        unusable = unusable_name(case, images[0])
        if foreign := not_utf8([*images, *(label.path for label in labels)]):
            unusable, case = foreign, as_utf8(case)
            images = tuple(Path(as_utf8(str(path))) for path in images)
            labels = tuple(replace(label, path=Path(as_utf8(str(label.path)))) for label in labels)
        return SourceCase(
            dataset=self.name,
            case=case,
            patient=self.patient_of(case),
            modality=modality,
            images=images,
            labels=labels,
            problem=unusable or problem,
        )

    def published_labels(self, root: Path) -> Mapping[int, str]:
        """Return label value -> name as the download itself lists them; empty where it doesn't."""
        return {}

    def find_cases(self, raw_root: Path) -> list[SourceCase]:
        """List the labelled cases below `raw_root / folder`, sorted by case identifier.

        Raises:
            SourceError: the folder is missing, closed or holds no case, or its labels are not
                those that `labels` maps, by value or by name.
        """
        try:
            root = self.root(raw_root)
            os.scandir(root).close()  # else a closed folder would pass for an empty one
            cases = sorted(self.list_cases(root), key=lambda case: case.case)
        except PermissionError as error:
            raise SourceError(
                f"datasets.{self.name}: {error.filename}: {error.strerror}. Check the folder's"
                f" permissions, or take {self.name!r} out of `pool`."
            ) from error
        if not cases:
            raise SourceError(
                f"datasets.{self.name}: no case in {root}, which should hold {self.expects}."
                f" Set `datasets.{self.name}.folder` to the folder that does, or take {self.name!r}"
                " out of `pool`."
            )
        self._compare_labels(root)
        if self.class_files:
            self._require_classes(cases)
        return self._without_left_out(cases)

    def _compare_labels(self, root: Path) -> None:
        published = self.published_labels(root)
        unmapped = {
            value: name for value, name in published.items() if value and value not in self.labels
        }
        if unmapped:
            raise SourceError(
                f"datasets.{self.name}: dataset.json in {root} lists the labels {unmapped}, which"
                f" `datasets.{self.name}.labels` does not map. Map each value to a target, or to"
                " null to drop it."
            )
        exchanged = renumbered(published, self.labels, self.published_names)
        if exchanged:
            what = ", ".join(
                f"{value} is {published[value]!r}, as {other} is here"
                for value, other in exchanged.items()
            )
            raise SourceError(
                f"datasets.{self.name}: dataset.json in {root} numbers its labels otherwise:"
                f" {what}. dataset.json: {dict(published)};"
                f" `datasets.{self.name}.labels`: {self.labels}. Correct `labels`, or, where a"
                " name only looks like another's, give it in"
                f" `datasets.{self.name}.published_names`."
            )
        unknown = [value for value in self.labels if published and value not in published]
        if unknown:
            logger.warning(
                "datasets.%s.labels maps %s, which dataset.json in %s does not list (%s)",
                self.name,
                unknown,
                root,
                dict(published),
            )

    def _require_classes(self, cases: Sequence[SourceCase]) -> None:
        """Refuse a class without any file, which would be learnt as absent from every case.

        Where single cases lack one, it is taken as absent, and the user is told.
        """
        found = {label.class_name for case in cases for label in case.labels}
        wanted = {name for name, target in self.labels.items() if target is not None}
        lost = sorted(str(name) for name in wanted - found)
        if lost and wanted & found:
            raise SourceError(
                f"datasets.{self.name}: no case has a file of the class(es) {', '.join(lost)}. Is"
                f" this another release? Correct `datasets.{self.name}.labels`, or map what the"
                " release lacks to null."
            )
        lacking = {
            case.case: sorted(map(str, wanted - {label.class_name for label in case.labels}))
            for case in cases
            if not case.problem
        }
        lacking = {case: names for case, names in lacking.items() if names}
        if lacking:
            first = next(iter(lacking))
            logger.warning(
                "datasets.%s: %d of %d cases lack the file of some class, which counts as absent"
                " from them; %s lacks %s",
                self.name,
                len(lacking),
                len(cases),
                first,
                ", ".join(lacking[first]),
            )

    def _without_left_out(self, cases: list[SourceCase]) -> list[SourceCase]:
        unknown = sorted(set(self.left_out) - {case.case for case in cases})
        if unknown:
            logger.warning(
                "datasets.%s.left_out names no case of the folder: %s", self.name, unknown
            )
        reasons = {case: reason for case, reason in self.left_out.items() if reason}
        return [
            replace(case, problem=f"{LEFT_OUT}{reasons[case.case]}")
            if case.case in reasons
            else case
            for case in cases
        ]

    def root(self, raw_root: Path) -> Path:
        """Return the dataset's folder; raise SourceError with a remedy when it is missing."""
        path = raw_root / self.folder
        if not path.is_dir():
            raise SourceError(
                f"datasets.{self.name}: folder {path} not found. Download the dataset"
                f"{f' from {self.url}' if self.url else ''} and unpack it there, set `raw_root`"
                f" or `datasets.{self.name}.folder`, or take {self.name!r} out of `pool`."
            )
        return path

    def annotated_targets(self, modality: Modality, table: LabelTable) -> tuple[str, ...]:
        """Return the table's targets that a case of this modality annotates, each once."""
        left_out = set(self.unannotated.get(modality, ()))
        names = dict.fromkeys(name for name in self.labels.values() if name is not None)
        return tuple(table.target_of(self.name, name) for name in names if name not in left_out)

    def value_mapping(self, table: LabelTable) -> dict[int | str, int]:
        """Return source label value (or class name) -> stored integer; dropped values give 0."""
        return {
            value: table.id_of(table.target_of(self.name, target)) if target is not None else 0
            for value, target in self.labels.items()
        }

    def source_values(self, table: LabelTable) -> dict[int, int | str]:
        """Return stored integer -> source label value (or class name): `value_mapping` inverted.

        Where several values map to one target it is the lowest, or the class listed first.
        """
        values: dict[int, int | str] = {}
        for value in self.labels if self.class_files else sorted(self.labels, key=int):
            target = self.labels[value]
            if target is not None:
                values.setdefault(table.id_of(table.target_of(self.name, target)), value)
        return values
