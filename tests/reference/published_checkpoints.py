"""Write the tensors of published checkpoints, and print how well ours agree with their networks.

    pip install --no-deps nnunet==1.7.1 dynamic_network_architectures==0.4.4 monai==1.6.1 \\
        medim==0.1.2 einops huggingface_hub appdirs requests
    python -m tests.reference.published_checkpoints

Runs in the project's own environment and those packages. `published_checkpoints.json` gets the
names and shapes of every tensor, in order, from the public code at full size (on the meta device).
Then small networks of that code, of random weights, are saved as their publishers save them, read
by our converters, and both are given the same image.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from medim.models.sam_med3d import build_sam3D_vit_b_ori
from medim.models.stu_net import STUNet as PublicSTUNet
from monai.networks.nets import SwinUNETR as PublicSwinUNETR
from nnunet.network_architecture.generic_UNet import Generic_UNet
from nnunet.network_architecture.initialization import InitWeights_He
from torch import Tensor, nn

from tsfm_pipeline.model.published.checkpoint import read_published
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.network.sizes import STUNetSize, SwinUNETRSize, UNetShape
from tsfm_pipeline.network.stunet import WIDTHS, STUNet
from tsfm_pipeline.network.swinunetr import SwinUNETR
from tsfm_pipeline.network.unet import MOST_CHANNELS, PlainUNet

HERE = Path(__file__).parent
HALVED = [2, 2, 2]
MULTITALENT = [HALVED] * 4 + [[1, 2, 2]]
TOTALSEGMENTATOR = [HALVED] * 5


def stunet(channels: int, blocks: int, classes: int) -> nn.Module:
    """Build STU-Net."""
    return PublicSTUNet(
        num_classes=classes,
        depth=[blocks] * 6,
        dims=[channels * width for width in WIDTHS],
        pool_op_kernel_sizes=TOTALSEGMENTATOR,
        conv_kernel_sizes=[[3, 3, 3]] * 6,
    )


def nnunet_v1(channels: int, strides: list[list[int]], classes: int) -> nn.Module:
    """Build nnU-Net v1's U-Net as its trainer does."""
    norm = {"eps": 1e-5, "affine": True}
    slope = {"negative_slope": 1e-2, "inplace": True}
    kernels = [[3, 3, 3]] * (len(strides) + 1)
    network = Generic_UNet(
        1, channels, classes, len(strides), 2, 2, nn.Conv3d, nn.InstanceNorm3d, norm, nn.Dropout3d,
        {"p": 0, "inplace": True}, nn.LeakyReLU, slope, False, False, lambda x: x,
        InitWeights_He(1e-2), strides, kernels, False, True, True,
    )  # fmt: skip
    network.do_ds = False
    return network


def nnunet_v2(channels: int, strides: list[list[int]], classes: int) -> nn.Module:
    """Build nnU-Net v2's U-Net as its planner describes it."""
    stages = len(strides) + 1
    return PlainConvUNet(
        1, stages, [min(channels * 2**i, MOST_CHANNELS) for i in range(stages)], nn.Conv3d,
        [[3, 3, 3]] * stages, [[1, 1, 1], *strides], 2, classes, 2, conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, deep_supervision=False,
    )  # fmt: skip


def swinunetr(channels: int, classes: int) -> nn.Module:
    """Build MONAI's SwinUNETR, which can't be built on the meta device."""
    with torch.device("cpu"):
        return PublicSwinUNETR(1, classes, feature_size=channels)


def self_supervised(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name an encoder as the authors' code saves it, which `SwinUNETR.load_from` reads."""
    return {
        "module." + name.removeprefix("swinViT.").replace(".mlp.linear", ".mlp.fc"): tensor
        for name, tensor in state.items()
        if name.startswith("swinViT.")
    }


def full_size() -> dict[str, dict[str, list[int]]]:
    """Return name and shape of the tensors of every kind of checkpoint."""
    with torch.device("meta"):
        states = {
            "stunet_small": stunet(16, 1, 105).state_dict(),
            "stunet_huge": stunet(96, 3, 105).state_dict(),
            "multitalent": nnunet_v1(30, MULTITALENT, 47).state_dict(),
            "totalsegmentator": nnunet_v2(32, TOTALSEGMENTATOR, 25).state_dict(),
            "sam_med3d": build_sam3D_vit_b_ori().state_dict(),
        }
    btcv = swinunetr(48, 14).state_dict()
    states |= {"swinunetr_btcv": btcv, "model_swinvit": self_supervised(btcv)}
    return {
        family: {name: list(tensor.shape) for name, tensor in state.items()}
        for family, state in states.items()
    }


def read_into(network: SegmentationNetwork, content: object) -> SegmentationNetwork:
    """Save a checkpoint and read it into a network of ours, heads included."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(content, Path(folder) / "published.model")
        weights = read_published(Path(folder) / "published.model").weights
    ours = network.state_dict()
    network.load_state_dict(ours | {name: weights[name] for name in ours if name in weights})
    return network.eval()


def main(show: Callable[[str], object] = print) -> None:
    """Write the names; print a row per family."""
    rows = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in full_size().items())
    (HERE / "published_checkpoints.json").write_text(f"{{\n{rows}\n}}\n")
    torch.manual_seed(0)
    halved = ((2, 2, 2),) * 3
    unet = UNetShape(channels=4, strides=halved, kernels=((3, 3, 3),) * 4)
    swin = swinunetr(12, 3)
    theirs_and_ours = {
        "STU-Net": (
            theirs := stunet(4, 2, 3),
            STUNet(1, 3, STUNetSize(channels=4, blocks=2), (128, 128, 128)),
            {"state_dict": theirs.state_dict(), "plot_stuff": ([np.float64(0.5)], [])},
        ),
        "nnU-Net v1": (
            theirs := nnunet_v1(4, [HALVED] * 3, 3),
            PlainUNet(1, 3, unet, (32, 32, 32)),
            {"state_dict": theirs.state_dict(), "best_stuff": (None, np.float64(0.5), None)},
        ),
        "nnU-Net v2": (
            theirs := nnunet_v2(4, [HALVED] * 3, 3),
            PlainUNet(1, 3, unet, (32, 32, 32)),
            {"network_weights": theirs.state_dict(), "_best_ema": np.float64(0.5)},
        ),
        "SwinUNETR": (
            swin,
            SwinUNETR(1, 3, SwinUNETRSize(channels=12), (64, 64, 64)),
            {"state_dict": swin.state_dict(), "best_acc": np.float32(0.5)},
        ),
    }
    show(f"{'family':<12} {'logits up to':>13} {'differ by':>10}")
    image_BCDHW = torch.randn(1, 1, 64, 64, 64)
    for title, (published, ours, content) in theirs_and_ours.items():
        if title == "nnU-Net v1":  # its heads have no bias
            nn.init.zeros_(ours.heads[0].bias)
        read_into(ours, content)
        with torch.no_grad():
            expected, found = published.eval()(image_BCDHW), ours(image_BCDHW)
        apart = float((expected - found).abs().max())
        show(f"{title:<12} {float(expected.abs().max()):>13.1f} {apart:>10.1e}")


if __name__ == "__main__":
    main()
