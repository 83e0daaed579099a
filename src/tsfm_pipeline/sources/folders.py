"""Any dataset whose files follow a naming pattern, with no dataset.json."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from tsfm_pipeline.sources.dataset_json import climbs_out
from tsfm_pipeline.sources.generic import GenericSource
from tsfm_pipeline.sources.listing import holds, not_found
from tsfm_pipeline.sources.source import LabelFile, Modality, SourceCase

CASE, CLASS = "{case}", "{class}"


class FoldersSource(GenericSource):
    """Files found by their names: `{case}/CT.nii.gz`, or `images/{case}.nii.gz`.

    `{case}` stands for the case identifier, a part of one folder or file name. With `{class}` in
    `label`, every class has a binary file of its own and the keys of `labels` are class names.

    Attributes:
        layout: tag of this layout.
        modality: CT or MR, of all cases.
        images: one pattern per channel, relative to `folder`.
        label: pattern of the label file.
    """

    expects: ClassVar[str] = "files that match `images` and `label` (.nii.gz or another format)"

    layout: Literal["folders"] = "folders"
    modality: Modality
    images: tuple[str, ...] = Field(min_length=1)
    label: str

    @field_validator("images", "label")
    @classmethod
    def _patterns(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for pattern in (value,) if isinstance(value, str) else value:
            if CASE not in pattern:
                raise ValueError(f"{pattern!r} has no {CASE}, which tells the cases apart")
            if climbs_out(pattern):
                raise ValueError(f"{pattern!r} leads out of the dataset's folder")
        return value

    @property
    def class_files(self) -> bool:  # type: ignore[override]  # its settings decide, not its class
        """Whether `label` has one file per class."""
        return CLASS in self.label

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the cases that have an image or a label."""
        found = self._find(root)
        images, labels = found[: len(self.images)], found[len(self.images) :]
        for case in sorted({case for files in found for case in files}):
            missing = [
                _filled(root, pattern, case)
                for pattern, files in zip(self.images, images, strict=True)
                if case not in files
            ]
            label_files = tuple(
                LabelFile(files[case], name)
                for files, name in zip(labels, self._classes(), strict=True)
                if case in files
            )
            if not label_files:
                missing.append(_filled(root, self.label, case))
            yield self.make_case(
                case=case,
                modality=self.modality,
                images=tuple(_filled(root, pattern, case) for pattern in self.images),
                labels=label_files or (LabelFile(_filled(root, self.label, case)),),
                problem=not_found(missing),
            )

    def _classes(self) -> list[str | None]:
        if not self.class_files:
            return [None]
        return [str(name) for name, target in self.labels.items() if target is not None]

    def _find(self, root: Path) -> list[dict[str, Path]]:
        """Return case -> file of every image pattern, then of the label pattern of each class.

        A file that fits several patterns (`{case}.nii.gz` and `{case}_seg.nii.gz`) belongs to the
        one that says most.
        """
        patterns = [*self.images, *(_of_class(self.label, name) for name in self._classes())]
        found = [dict(_matches(root, pattern.split("/"))) for pattern in patterns]
        taken: set[Path] = set()
        for place in sorted(range(len(patterns)), key=lambda i: -len(patterns[i])):
            found[place] = {c: path for c, path in found[place].items() if path not in taken}
            taken |= set(found[place].values())
        return found


def _of_class(pattern: str, name: str | None) -> str:
    return pattern if name is None else pattern.replace(CLASS, name)


def _filled(root: Path, pattern: str, case: str) -> Path:
    return root / pattern.replace(CASE, case)


def _matches(folder: Path, parts: list[str], case: str = "") -> Iterator[tuple[str, Path]]:
    """Yield (case, file) below `folder` whose names fit the parts."""
    part, *rest = parts
    for name, found in _entries(folder, part, case):
        path = folder / name
        if rest and _is(stat.S_ISDIR, path):
            yield from _matches(path, rest, found)
        elif not rest and _is(stat.S_ISREG, path):
            yield found, path


def _is(kind: Callable[[int], bool], path: Path) -> bool:
    return holds(lambda: kind(path.stat().st_mode))


def _entries(folder: Path, part: str, case: str) -> Iterator[tuple[str, str]]:
    """Yield name and case of the entries that fit one part; hidden ones fit no `{case}`."""
    if case or CASE not in part:
        yield part.replace(CASE, case), case
        return
    first, *others = map(re.escape, part.split(CASE))
    # DOTALL: a name with a line break is told of, too.
    fits = re.compile(f"{first}(?P<case>.+){'(?P=case)'.join(others)}", re.DOTALL)
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    for name in names:
        match = fits.fullmatch(name)
        if match:
            yield name, match["case"]
