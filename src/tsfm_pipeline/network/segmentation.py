"""What training, transfer and inference ask of any network."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class SegmentationNetwork(nn.Module):
    """The base class of the networks: (B, C, D, H, W) to logits (B, K, D, H, W).

    In training mode `forward` returns a list, finest grid first: the logits of the input's grid
    and, with deep supervision, of coarser ones, whose voxels are every 2nd, 4th, ... of the
    input's along an axis. In evaluation mode it returns the finest alone. Any grid can be put in.

    Attributes:
        heads: the layers that give the logits, finest first. A transfer starts them afresh, and
            they can be trained first.
        first_layers: weights of the convolutions that read the image; a transfer adapts them to
            another number of channels.
        repeated: kinds of modules that make up the body: what FSDP2 shares out one by one.
        checkpointing: in training, keep only the inputs of repeated modules for the backward pass
            and compute the rest again.
    """

    heads: nn.ModuleList
    first_layers: ClassVar[tuple[str, ...]]
    repeated: tuple[type[nn.Module], ...]
    checkpointing = False

    def run(self, module: nn.Module, *inputs: Tensor) -> Tensor:
        """Call a repeated module, with `checkpointing` so that its insides are not kept."""
        if self.checkpointing and torch.is_grad_enabled():
            output: Tensor = checkpoint(module, *inputs, use_reentrant=False)
        else:
            output = module(*inputs)
        return output
