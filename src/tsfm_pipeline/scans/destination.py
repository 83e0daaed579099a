"""Where a run's results go: a folder, or the one file that the user named."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tsfm_pipeline.scans.finding import LONGEST_NAME, SUFFIXES, Scan
from tsfm_pipeline.scans.problem import ScanError, check_utf8
from tsfm_pipeline.scans.record import outputs_of

_WRITTEN = ".nii.gz"


@dataclass(frozen=True)
class Destination:
    """A folder of results.

    Attributes:
        folder: of all outputs.
        name: of the outputs of the one scan, where the user named its label map and not a folder;
            then there are no tables and label files of a run.
    """

    folder: Path
    name: str | None = None

    @classmethod
    def of(cls, output: Path) -> "Destination":
        """Read what the user gave: `out` is a folder, `out.nii.gz` the label map of one scan.

        Raises:
            ScanError: a file of a format that is not written, or a name that can't be.
        """
        check_utf8(output)
        lower = output.name.lower()
        if output.is_dir() or not lower.endswith(SUFFIXES):
            return cls(output)
        if not lower.endswith(_WRITTEN):
            raise ScanError(
                f"{output}: segmentations are written as {_WRITTEN}; name such a file, or a folder"
            )
        name = output.name[: -len(_WRITTEN)]
        if len(os.fsencode(name)) > LONGEST_NAME:
            raise ScanError(
                f"{output}: the name has more than {LONGEST_NAME} bytes; give a shorter one"
            )
        return cls(output.parent, name)

    def named(self, scans: Sequence[Scan]) -> list[Scan]:
        """Return the scans under the names of their outputs.

        Raises:
            ScanError: several scans for one file.
        """
        if self.name is None:
            return list(scans)
        if len(scans) > 1:
            raise ScanError(
                f"{self.folder / self.name}{_WRITTEN} is one file, and the input holds"
                f" {len(scans)} scans; give a folder"
            )
        return [replace(scan, name=self.name) for scan in scans]

    def keep_inputs(self, source: Path, scans: Sequence[Scan]) -> None:
        """Refuse outputs that would replace a scan, or be taken for one by the next run.

        Raises:
            ScanError: they would.
        """
        inputs = {file.resolve() for scan in scans for file in scan.files}
        made = (path for scan in scans for path in outputs_of(self.folder, scan.name).values())
        folder = self.folder.resolve()
        among = folder == source.resolve()
        if self.name is not None and source.is_dir():
            linked = {file.parent.resolve() for scan in scans for file in scan.files}
            among = any(map(folder.is_relative_to, {source.resolve(), *linked}))
        if among or any(path.resolve() in inputs for path in made):
            raise ScanError(
                f"{self.folder}: segmentations would lie among the scans, and could replace them;"
                " give an output folder of its own"
            )
