"""A drawing of the network as Mermaid text, made from the module itself."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tsfm_pipeline.network.blocks import DownSample, Grid, Stem
from tsfm_pipeline.network.sizes import TsfmSize
from tsfm_pipeline.network.tsfm import TSFM


@dataclass(frozen=True)
class _Box:
    """One stage: its label, and channels and grid of what it gives."""

    name: str
    label: str
    shape: str


def diagram(size: TsfmSize, in_channels: int, out_channels: int, patch: Grid) -> str:
    """Draw a size in training mode, as Mermaid flowchart text.

    The stages' shapes are recorded while an empty image runs through the network on the meta
    device: nothing is allocated, and what is drawn is what runs.
    """
    with torch.device("meta"):
        network = TSFM(in_channels, out_channels, size, patch)
        image_BCDHW = torch.empty(1, in_channels, *patch)
    shapes: dict[nn.Module, str] = {}

    def note(module: nn.Module, inputs: object, output: Tensor) -> None:
        shapes[module] = _shape(output)

    stages = {**_named("encoder", network.encoder), **_named("decoder", network.decoder)}
    watched = [*network.up, *network.heads, network.bottleneck]
    watched += [list(stage.children())[-1] for stage in stages.values()]
    handles = [module.register_forward_hook(note) for module in watched]
    network.train()(image_BCDHW)
    for handle in handles:
        handle.remove()

    last = {name: list(stage.children())[-1] for name, stage in stages.items()}
    boxes = [_Box("image", "image", _shape(image_BCDHW))]
    for name, stage in stages.items():
        boxes.append(_Box(name, _blocks(stage), shapes[last[name]]))
    label = f"D, {size.layers} layers of width {size.width}" if size.layers else "no D"
    boxes.append(_Box("bottleneck", label, shapes[network.bottleneck]))
    levels = len(network.up)
    boxes += [_Box(f"up{i}", "E", shapes[network.up[i]]) for i in range(levels)]
    boxes += [_Box(f"head{i}", "F", shapes[network.heads[i]]) for i in range(len(network.heads))]

    arrows = ["image --> encoder0"]
    arrows += [f"encoder{i} --> encoder{i + 1}" for i in range(levels)]
    arrows += [f"encoder{levels} --> bottleneck", f"bottleneck --> up{levels - 1}"]
    for i in reversed(range(levels)):
        arrows += [f"up{i} --> decoder{i}", f"encoder{i} -- skip --> decoder{i}"]
        if i:
            arrows.append(f"decoder{i} --> up{i - 1}")
    arrows += [f"decoder{i} --> head{i}" for i in range(len(network.heads))]
    lines = [f'    {box.name}["{box.label}<br/>{box.shape}"]' for box in boxes]
    return "\n".join(["flowchart TB", *lines, *(f"    {arrow}" for arrow in arrows)]) + "\n"


def _named(kind: str, stages: nn.ModuleList) -> dict[str, nn.Module]:
    return {f"{kind}{level}": stage for level, stage in enumerate(stages)}


def _blocks(stage: nn.Module) -> str:
    """Write a resolution's blocks by letter: `C + 3 B`."""
    first, *rest = stage.children()
    letter = "A" if isinstance(first, Stem) else "C" if isinstance(first, DownSample) else "B"
    if letter == "B":
        return f"{len(rest) + 1} B"
    return f"{letter} + {len(rest)} B" if rest else letter


def _shape(tensor: Tensor) -> str:
    channels, *grid = tensor.shape[1:]
    unit = "channel" if channels == 1 else "channels"
    return f"{channels} {unit}, {' x '.join(map(str, grid))}"
