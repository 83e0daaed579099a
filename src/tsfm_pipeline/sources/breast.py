"""Breast DCE-MRI of Zhang et al., Patterns 2023 (Zenodo 8068383): six phases a case."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from tsfm_pipeline.sources.listing import VolumeFolder, not_found, subfolders
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase

NUMBER = r"(?:[A-Za-z]+_)?(\d+)"
"""`19` in the release, `Yunnan_19` in copies."""


class BreastSource(Source):
    """`<number>/{P0..P5,GT}.nii.gz` and the copies that are about. All MR.

    Other spellings: `.nii`, `gt`, `p1`, folders `<Centre>_<number>`. Two more arrangements are
    read: the re-processed copy `image_p1/<Centre>_<number>_P1.nii.gz` beside
    `label/<Centre>_<number>_GT.nii.gz`, and the authors' training folders `<Centre>/<Centre>_<n>/`
    beside `<Centre>_gt/<Centre>_<n>.nii.gz`. A case's identifier is its number in all of them.

    Attributes:
        layout: tag of this layout.
        phase: the phase that becomes the one channel, P0 before the contrast agent. The paper
            does not say which it took.
    """

    expects: ClassVar[str] = "one folder per case, named by a number, with P0..P5 and GT .nii.gz"

    layout: Literal["breast"] = "breast"
    phase: Literal["P0", "P1", "P2", "P3", "P4", "P5"] = "P1"

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the cases of the arrangement that is found."""
        phases = root / f"image_{self.phase.lower()}"
        if phases.is_dir():
            pairs = self._by_phase(VolumeFolder(phases), VolumeFolder(root / "label"))
        else:
            pairs = self._by_case(root)
        for number, image, label, missing in pairs:
            yield self.make_case(
                case=number,
                modality="MR",
                images=(image,),
                labels=(LabelFile(label),),
                problem=not_found(missing),
            )

    def _by_case(self, root: Path) -> Iterator[tuple[str, Path, Path, list[Path]]]:
        """Yield number, image, label and what is missing, from one folder per case."""
        centres = [
            centre for centre in subfolders(root, r"[A-Za-z]+") if subfolders(centre, NUMBER)
        ]
        for parent in (root, *centres):
            outer = VolumeFolder(root / f"{parent.name}_gt")
            for folder in subfolders(parent, NUMBER):
                files = VolumeFolder(folder)
                image = _spelt(files, self.phase)
                labels, label = files, _spelt(files, "GT")
                if folder.name in outer:
                    labels, label = outer, folder.name
                missing = files.missing(image) + labels.missing(label)
                number = folder.name.rpartition("_")[2]
                yield number, files.path(image), labels.path(label), missing

    def _by_phase(
        self, images: VolumeFolder, labels: VolumeFolder
    ) -> Iterator[tuple[str, Path, Path, list[Path]]]:
        """Yield number, image, label and what is missing, from one folder per phase."""
        cases = {name.removesuffix(f"_{self.phase}") for name in images.names()}
        cases |= {name.removesuffix("_GT") for name in labels.names()}
        for case in sorted(cases):
            match = re.fullmatch(NUMBER, case)
            if match is None:
                continue
            image, label = f"{case}_{self.phase}", f"{case}_GT"
            missing = images.missing(image) + labels.missing(label)
            yield match[1], images.path(image), labels.path(label), missing


def _spelt(files: VolumeFolder, name: str) -> str:
    return name.lower() if name.lower() in files else name
