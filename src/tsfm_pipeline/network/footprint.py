"""What a network costs: parameters, operations and kept feature maps, without allocating it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tsfm_pipeline.network.blocks import Grid
from tsfm_pipeline.network.build import build_network
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.network.sizes import Architecture


@dataclass(frozen=True)
class Footprint:
    """The cost of one network.

    Attributes:
        parameters: what inference uses: everything but the deep-supervision heads.
        supervision_parameters: the heads of the coarser grids, used in training only.
        supervised: grids with a head.
        forward_flops: operations of one inference pass over one patch; a multiply-add counts two.
        kept_values: numbers that one sample's forward pass keeps for the backward pass. With
            checkpointing: the inputs of the repeated modules, and what the largest of them keeps
            when it is computed again.
        outputs: logits per voxel.
        head_parameters: those of `parameters` that the finest grid's head has.
        head_flops: those of `forward_flops` that it takes.
    """

    parameters: int
    supervision_parameters: int
    supervised: int
    forward_flops: int
    kept_values: int
    outputs: int
    head_parameters: int
    head_flops: int

    def with_outputs(self, outputs: int) -> "Footprint":
        """Return the cost with another number of outputs, in proportion to which the heads grow."""

        def growth(count: int) -> int:
            return count * outputs // self.outputs - count

        return replace(
            self,
            parameters=self.parameters + growth(self.head_parameters),
            supervision_parameters=self.supervision_parameters
            + growth(self.supervision_parameters),
            forward_flops=self.forward_flops + growth(self.head_flops),
            outputs=outputs,
            head_parameters=self.head_parameters + growth(self.head_parameters),
            head_flops=self.head_flops + growth(self.head_flops),
        )


def footprint(
    architecture: Architecture,
    in_channels: int,
    out_channels: int,
    patch: Grid,
    checkpointing: bool = False,
) -> Footprint:
    """Count a network on the meta device (no memory, seconds).

    Raises:
        MissingExtra: the network is another package's that is not installed.
    """
    with torch.device("meta"):
        network = build_network(architecture, in_channels, out_channels, patch)
        image_BCDHW = torch.empty(1, in_channels, *patch)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.eval()(image_BCDHW)
    head = list(network.heads[0].parameters())
    supervision = sum(p.numel() for p in network.heads[1:].parameters())
    total = sum(p.numel() for p in network.parameters())
    network.train()
    network.checkpointing = checkpointing
    return Footprint(
        parameters=total - supervision,
        supervision_parameters=supervision,
        supervised=len(network.heads),
        forward_flops=int(counter.get_total_flops()),
        kept_values=_kept_values(network, image_BCDHW) + _largest_again(network, image_BCDHW),
        outputs=out_channels,
        head_parameters=sum(p.numel() for p in head),
        head_flops=sum(2 * p.numel() * math.prod(patch) for p in head if p.dim() > 1),
    )


def _largest_again(network: SegmentationNetwork, image_BCDHW: Tensor) -> int:
    """Count what is kept of a module computed again in the backward pass, one at a time."""
    if not network.checkpointing:
        return 0
    counts = [0]

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        handles.pop(module).remove()  # its own forward pass would come here again
        given = [each for each in inputs if isinstance(each, Tensor)]
        with torch.enable_grad():
            counts.append(_kept_values(module, *inputs, known=given))

    handles = {
        module: module.register_forward_pre_hook(count)
        for module in network.modules()
        if isinstance(module, network.repeated)
    }
    with torch.no_grad():
        network(image_BCDHW)
    return max(counts)


def _kept_values(module: nn.Module, *inputs: Any, known: Iterable[Tensor] = ()) -> int:
    """Count what autograd holds on to in a forward pass, each piece of memory once.

    Weights and what is known do not count.
    """
    passed_over = {each.untyped_storage()._cdata for each in (*module.parameters(), *known)}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()._cdata
        if memory not in passed_over:
            kept[memory] = tensor  # held on to: freed memory's address may become another's
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(*inputs)
    return sum(t.untyped_storage().nbytes() // t.element_size() for t in kept.values())
