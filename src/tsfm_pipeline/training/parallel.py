"""The network spread over a group of processes: copies (DDP) or shares (FSDP2)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.training.group import Group


def parallel_model(
    network: SegmentationNetwork, settings: TrainingSettings, group: Group, device: torch.device
) -> nn.Module:
    """Return what is called in training steps; `network` keeps the parameters.

    With FSDP2, `network` itself is changed: its parameters become shares, gathered block by block
    while they are needed. All processes must hold equal weights.
    """
    model: nn.Module = network
    if group.size > 1 and settings.parallel.strategy == "fsdp":
        mesh = init_device_mesh(device.type, (group.size,))
        for module in network.modules():
            if isinstance(module, network.repeated):
                fully_shard(module, mesh=mesh)
        # torch would leave the root whole after a forward pass: validation has no backward pass
        fully_shard(network, mesh=mesh, reshard_after_forward=True)
    elif group.size > 1:
        model = DistributedDataParallel(
            network,
            device_ids=[device.index] if device.type == "cuda" else None,
            gradient_as_bucket_view=True,  # else every gradient is held twice
        )
    if settings.compile:
        model = torch.compile(model)  # type: ignore[assignment]
    return model


@contextmanager
def gradient_sync(model: nn.Module, *, when: bool) -> Iterator[None]:
    """Exchange gradients in this backward pass, or leave them to a later one."""
    inner = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    if isinstance(inner, FSDPModule):
        inner.set_requires_gradient_sync(when)
        yield
    elif isinstance(inner, DistributedDataParallel) and not when:
        with inner.no_sync():
            yield
    else:
        yield


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a shared-out tensor complete, in every process; all must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_of(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return the share of a complete tensor that fits a parameter's; without FSDP2, all of it."""
    if not isinstance(parameter, DTensor):
        return tensor
    return distribute_tensor(
        tensor, parameter.device_mesh, parameter.placements, src_data_rank=None
    )
