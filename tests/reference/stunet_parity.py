"""Print how far STU-Net's logits are from the public implementation's with copied weights.

    pip install --no-deps medim==0.1.2 einops huggingface_hub appdirs requests
    python -m tests.reference.stunet_parity

Runs in the project's own environment and those packages. medim 0.1.2 holds the code of
uni-medical/STU-Net. Its weights get the names of our converter of official checkpoints.
"""

from collections.abc import Callable

import torch
from medim.models.stu_net import STUNet as Public

from tsfm_pipeline.model.published.stunet import our_name
from tsfm_pipeline.network.sizes import NETWORKS, STUNetSize
from tsfm_pipeline.network.stunet import WIDTHS, STUNet, strides_for

CLASSES = 105
PATCHES = ((64, 64, 64), (32, 64, 96))


def public(size: STUNetSize, patch: tuple[int, int, int]) -> Public:
    """Build the public network for a patch; its weights are random, norms and biases too."""
    network = Public(
        num_classes=CLASSES,
        depth=[size.blocks] * 6,
        dims=[size.channels * width for width in WIDTHS],
        pool_op_kernel_sizes=[list(stride) for stride in strides_for(patch)],
        conv_kernel_sizes=[[3, 3, 3]] * 6,
        enable_deep_supervision=True,
    )
    for parameter in network.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter)
    return network


def main(show: Callable[[str], object] = print) -> None:
    """Print a row for each size and patch, of the largest logits and differences of all outputs."""
    show(f"{'size':<8} {'patch':<12} {'parameters':>13} {'logits up to':>13} {'differ by':>10}")
    for name in ("tiny", "small", "base"):
        size = NETWORKS["stunet"][name]
        assert isinstance(size, STUNetSize)
        for patch in PATCHES:
            torch.manual_seed(0)
            theirs, ours = public(size, patch), STUNet(1, CLASSES, size, patch)
            weights = {our_name(name): tensor for name, tensor in theirs.state_dict().items()}
            del weights["heads.4.weight"], weights["heads.4.bias"]  # of weight 0 in training
            ours.load_state_dict(weights)
            image_BCDHW = torch.randn(1, 1, *patch)
            with torch.no_grad():
                pairs = zip(ours.train()(image_BCDHW), theirs(image_BCDHW), strict=False)
                logits, apart = zip(
                    *((a.abs().max(), (a - b).abs().max()) for a, b in pairs), strict=True
                )
            count = sum(parameter.numel() for parameter in theirs.parameters())
            show(
                f"{name:<8} {'x'.join(map(str, patch)):<12} {count:>13,}"
                f" {float(max(logits)):>13.1f} {float(max(apart)):>10.1e}"
            )


if __name__ == "__main__":
    main()
