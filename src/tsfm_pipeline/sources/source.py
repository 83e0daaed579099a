"""The one interface of all raw datasets: a source lists cases and opens nothing for writing."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.schema import Settings

Modality = Literal["CT", "MR"]


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


class Source(Settings):
    """Settings and reader of one dataset. Subclasses name a `layout` and implement `list_cases`.

    Attributes:
        folder: where the dataset lies, relative to the raw root.
        labels: source label value (or class name) -> target name; null drops the value.
        unannotated: targets of `labels` that the cases of a modality do not annotate.
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
    unannotated: dict[Modality, tuple[str, ...]] = Field(default_factory=dict)
    expected_cases: int | None = None
    url: str = ""
    licence: str = ""

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

    @abstractmethod
    def list_cases(self, dataset: str, root: Path) -> Iterable[SourceCase]:
        """Yield the labelled cases below `root`, in any order.

        A case that lacks a file is yielded with its `problem`. Hidden files (AppleDouble twins)
        are passed over.
        """

    def find_cases(self, dataset: str, raw_root: Path) -> list[SourceCase]:
        """List the labelled cases below `raw_root / folder`, sorted by case identifier.

        Raises:
            SourceError: the folder is missing or holds no case.
        """
        root = self.root(dataset, raw_root)
        cases = sorted(self.list_cases(dataset, root), key=lambda case: case.case)
        if not cases:
            raise SourceError(
                f"datasets.{dataset}: no case in {root}, which should hold {self.expects}."
                f" Set `datasets.{dataset}.folder` to the folder that does, or take {dataset!r}"
                " out of `pool`."
            )
        return cases

    def root(self, dataset: str, raw_root: Path) -> Path:
        """Return the dataset's folder; raise SourceError with a remedy when it is missing."""
        path = raw_root / self.folder
        if not path.is_dir():
            raise SourceError(
                f"datasets.{dataset}: folder {path} not found. Download the dataset"
                f"{f' from {self.url}' if self.url else ''} and unpack it there, set `raw_root`"
                f" or `datasets.{dataset}.folder`, or take {dataset!r} out of `pool`."
            )
        return path

    def annotated_targets(self, modality: Modality) -> tuple[str, ...]:
        """Return the targets that a case of this modality annotates, each once."""
        left_out = set(self.unannotated.get(modality, ()))
        names = dict.fromkeys(name for name in self.labels.values() if name is not None)
        return tuple(name for name in names if name not in left_out)

    def value_mapping(self, table: LabelTable) -> dict[int | str, int]:
        """Return source label value (or class name) -> stored integer; dropped values give 0."""
        return {
            value: table.id_of(target) if target is not None else 0
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
                values.setdefault(table.id_of(target), value)
        return values
