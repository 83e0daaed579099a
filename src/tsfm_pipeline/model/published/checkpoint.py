"""Whose checkpoint a file is, and its tensors under our names."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tsfm_pipeline.model.published import nnunet, stunet, swinunetr
from tsfm_pipeline.model.published.reading import PublishedError, describe, read_state
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.network.sizes import NetworkName
from tsfm_pipeline.network.stunet import STUNet
from tsfm_pipeline.network.swinunetr import SwinUNETR
from tsfm_pipeline.network.unet import PlainUNet


@dataclass(frozen=True)
class Family:
    """Checkpoints of one making.

    Attributes:
        title: for messages.
        network: the name of the network whose weights they are.
        network_class: its class.
        sign: a tensor that they have, and no other family has.
        our_names: gives our names of their tensors.
        whole: whether they fill the network but for its heads.
    """

    title: str
    network: NetworkName
    network_class: type[SegmentationNetwork]
    sign: str
    our_names: Callable[[Iterable[str]], Mapping[str, str]]
    whole: bool = True


FAMILIES = (
    Family("STU-Net", "stunet", STUNet, stunet.SIGN, stunet.our_names),
    Family("nnU-Net v1 (MultiTalent)", "nnunet", PlainUNet, nnunet.V1_SIGN, nnunet.our_names_v1),
    Family(
        "nnU-Net v2 (TotalSegmentator)", "nnunet", PlainUNet, nnunet.V2_SIGN, nnunet.our_names_v2
    ),
    Family("SwinUNETR", "swinunetr", SwinUNETR, swinunetr.SIGN, swinunetr.our_names),
    Family(
        "SwinUNETR's self-supervised encoder",
        "swinunetr",
        SwinUNETR,
        swinunetr.ENCODER_SIGN,
        swinunetr.encoder_names,
        whole=False,
    ),
)


@dataclass(frozen=True)
class PublishedWeights:
    """The tensors of a checkpoint under our names.

    Attributes:
        family: whose it is.
        weights: by our names.
        names: theirs by ours; a tensor that is not in the file has none.
    """

    family: Family
    weights: dict[str, Tensor]
    names: dict[str, str]


def read_published(path: Path) -> PublishedWeights:
    """Read a checkpoint that others have published; its family is recognised by its tensors.

    Raises:
        PublishedError: it can't be read, or is of no known family.
    """
    state = read_state(path)
    family = next((family for family in FAMILIES if family.sign in state), None)
    if family is None:
        raise PublishedError(
            f"{path} is no checkpoint of a known family: it begins with {describe(state)};"
            f" expected one of {', '.join(f'{one.title} (with {one.sign})' for one in FAMILIES)}"
        )
    ours = family.our_names(state)
    weights = {our: state[their] for their, our in ours.items()}
    if family.sign == nnunet.V1_SIGN:
        weights |= nnunet.zero_biases(weights)
    return PublishedWeights(family, weights, {our: their for their, our in ours.items()})
