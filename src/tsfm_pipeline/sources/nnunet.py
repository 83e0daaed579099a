"""Any folder in nnU-Net v2's raw format (nnUNet_raw/DatasetNNN_Name)."""

import logging
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel

from tsfm_pipeline.sources.dataset_json import NAME, climbing, listed, read_header
from tsfm_pipeline.sources.generic import GenericSource
from tsfm_pipeline.sources.listing import VolumeFolder, not_found
from tsfm_pipeline.sources.source import LabelFile, Modality, SourceCase, SourceError

logger = logging.getLogger(__name__)

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
BACKGROUND_NAMES = {"background"}
NOT_Z_SCORED = {"CT", "NONORM", "RESCALE_TO_0_1", "RGB_TO_0_1"}
"""Channel names, in capitals, that nnU-Net v2 does not z-score; it does so with all others."""


class _Files(BaseModel):
    """Explicit files of one case."""

    images: list[str]
    label: str


class _Header(BaseModel):
    """The keys of dataset.json that are read (nnU-Net's documentation/dataset_format.md)."""

    channel_names: dict[str, str]
    labels: dict[str, int | list[int]]
    file_ending: str
    dataset: dict[str, _Files] = {}


class NnunetSource(GenericSource):
    """`imagesTr/CASE_0000.nii.gz`, one file per channel, `labelsTr/CASE.nii.gz`, `dataset.json`.

    Where dataset.json has a `dataset` section, cases and files are those it names. Keys of
    `labels` are the values in the files: a region that dataset.json lists as several values
    becomes an entry of `labels.regions` in the fused table. The value of nnU-Net's `ignore`
    label must be mapped, too; null makes its voxels background.

    Attributes:
        layout: tag of this layout.
        modality: overrides the modality; without it, channels named CT are CT and others MR.
        channels: which channels to read, in this order, by their number in dataset.json; empty
            reads all.
    """

    expects: ClassVar[str] = "dataset.json, imagesTr/CASE_0000.nii.gz and labelsTr/CASE.nii.gz"

    layout: Literal["nnunet"] = "nnunet"
    modality: Modality | None = None
    channels: tuple[int, ...] = ()

    def published_labels(self, root: Path) -> Mapping[int, str]:
        """Return the label values that dataset.json lists, those of its regions among them.

        A value of several regions has all their names.
        """
        found: dict[int, str] = {}
        for name, values in read_header(self.name, root, _Header).labels.items():
            for value in values if isinstance(values, list) else [values]:
                if name not in BACKGROUND_NAMES:
                    found[value] = f"{found[value]}, {name}" if value in found else name
        return found

    def list_cases(self, root: Path) -> Iterator[SourceCase]:
        """Yield the cases; raise SourceError where dataset.json is of no use."""
        header = read_header(self.name, root, _Header)
        if header.file_ending not in ENDINGS:
            raise SourceError(
                f"datasets.{self.name}: {root / NAME} says file_ending {header.file_ending!r}; only"
                f" 3-D volumes are read ({', '.join(ENDINGS)}). Convert the files."
            )
        channels = self._channels(root, header)
        names = [header.channel_names[str(channel)] for channel in channels]
        modality = self.modality or self._modality_of(root, names)
        self._warn_of_normalisation(modality, names)
        folder = cache(lambda path: VolumeFolder(path, (header.file_ending,)))
        for case, files in header.dataset.items() or _files(root, header):
            problem = climbing(*files.images, files.label)
            if "/" in case or case.startswith("."):
                problem = f"{NAME} names a case {case!r}, which can't name a folder. Rename it."
            if not problem and len(files.images) != len(header.channel_names):
                problem = (
                    f"{NAME} lists {len(files.images)} images of this case and"
                    f" {len(header.channel_names)} channels. List one image per channel."
                )
            paths = [listed(root, text) for text in (*files.images, files.label)]
            if not problem:
                paths = [*(paths[channel] for channel in channels), paths[-1]]
                problem = not_found(
                    path
                    for path in paths
                    if path.name.removesuffix(header.file_ending) not in folder(path.parent)
                )
            yield self.make_case(
                case=case,
                modality=modality,
                images=tuple(paths[:-1]),
                labels=(LabelFile(paths[-1]),),
                problem=problem,
            )

    def _channels(self, root: Path, header: _Header) -> list[int]:
        known = sorted(int(number) for number in header.channel_names)
        if known != list(range(len(known))) or not known:
            raise SourceError(
                f"datasets.{self.name}: {root / NAME} numbers its channels {known}; number them"
                " 0, 1, 2, ..."
            )
        unknown = [channel for channel in self.channels if channel not in known]
        if unknown:
            raise SourceError(
                f"datasets.{self.name}.channels: {unknown} not among {header.channel_names} of"
                f" {root / NAME}"
            )
        return list(self.channels) or known

    def _modality_of(self, root: Path, names: list[str]) -> Modality:
        """Channels named CT are CT, as for nnU-Net's normalisation; all others count as MR."""
        found = {name.strip().upper() == "CT" for name in names}
        if len(found) > 1:
            raise SourceError(
                f"datasets.{self.name}: {root / NAME} names CT and other channels, {names}. Say"
                f" which it is with `datasets.{self.name}.modality`, or read some with `channels`."
            )
        return "CT" if found.pop() else "MR"

    def _warn_of_normalisation(self, modality: Modality, names: list[str]) -> None:
        """Name the channels that are normalised otherwise than nnU-Net v2 would by their names."""
        if modality == "MR":
            how = "z-scored, each by itself"
            others = [name for name in names if name.strip().upper() in NOT_Z_SCORED]
        else:
            how = "clipped and scaled as CT, with statistics pooled over all channels"
            others = [name for name in names if name.strip().upper() != "CT"] if names[1:] else []
        if others:
            logger.warning(
                "datasets.%s: the channel(s) %s are %s; nnU-Net would normalise them otherwise. If"
                " that is wrong for them, read others with `channels` or change `modality`",
                self.name,
                ", ".join(others),
                how,
            )


def _files(root: Path, header: _Header) -> Iterator[tuple[str, _Files]]:
    """Yield each case with its files as the folders name them."""
    ending = header.file_ending
    images = VolumeFolder(root / "imagesTr", (ending,)).names()
    found = {name[: match.start()] for name in images if (match := re.search(r"_\d{4}$", name))}
    found |= {*VolumeFolder(root / "labelsTr", (ending,)).names()}
    for case in sorted(found):
        yield (
            case,
            _Files(
                images=[
                    f"imagesTr/{case}_{channel:04d}{ending}"
                    for channel in range(len(header.channel_names))
                ],
                label=f"labelsTr/{case}{ending}",
            ),
        )
