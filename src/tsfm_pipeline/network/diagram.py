"""The stages of the network, read off the module itself, and a drawing of them as Mermaid text."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tsfm_pipeline.network.blocks import DownSample, Grid, Stem
from tsfm_pipeline.network.sizes import TsfmSize
from tsfm_pipeline.network.tsfm import TSFM


@dataclass(frozen=True)
class Stage:
    """One stage of the network and what it gives.

    Attributes:
        name: image, bottleneck, or encoder, up, decoder, head with the number of the resolution.
        blocks: its blocks by the letters of the paper's figure 1(b).
        channels: of its output.
        grid: voxels (z, y, x) of its output.
    """

    name: str
    blocks: str
    channels: int
    grid: Grid


def trace_stages(size: TsfmSize, in_channels: int, out_channels: int, patch: Grid) -> list[Stage]:
    """List the stages of a size in training mode.

    Shapes are recorded while an empty image runs through the network on the meta device: nothing
    is allocated, and what is listed is what runs.
    """
    with torch.device("meta"):
        network = TSFM(in_channels, out_channels, size, patch)
        image_BCDHW = torch.empty(1, in_channels, *patch)
    shapes: dict[nn.Module, torch.Size] = {}

    def note(module: nn.Module, inputs: object, output: Tensor) -> None:
        shapes[module] = output.shape

    stages = {**_named("encoder", network.encoder), **_named("decoder", network.decoder)}
    watched = [*network.up, *network.heads, network.bottleneck]
    watched += [list(stage.children())[-1] for stage in stages.values()]
    handles = [module.register_forward_hook(note) for module in watched]
    network.train()(image_BCDHW)
    for handle in handles:
        handle.remove()

    def stage(name: str, blocks: str, module: nn.Module) -> Stage:
        channels, *grid = shapes[module][1:]
        return Stage(name, blocks, channels, (grid[0], grid[1], grid[2]))

    traced = [Stage("image", "image", in_channels, patch)]
    for name, module in stages.items():
        traced.append(stage(name, _blocks(module), list(module.children())[-1]))
    label = f"D, {size.layers} layers of width {size.width}" if size.layers else "no D"
    traced.append(stage("bottleneck", label, network.bottleneck))
    traced += [stage(f"up{i}", "E", module) for i, module in enumerate(network.up)]
    traced += [stage(f"head{i}", "F", module) for i, module in enumerate(network.heads)]
    return traced


def diagram(size: TsfmSize, in_channels: int, out_channels: int, patch: Grid) -> str:
    """Draw a size in training mode, as Mermaid flowchart text (see `trace_stages`)."""
    stages = trace_stages(size, in_channels, out_channels, patch)
    names = [stage.name for stage in stages]
    levels = sum(name.startswith("up") for name in names)
    arrows = ["image --> encoder0"]
    arrows += [f"encoder{i} --> encoder{i + 1}" for i in range(levels)]
    arrows += [f"encoder{levels} --> bottleneck", f"bottleneck --> up{levels - 1}"]
    for i in reversed(range(levels)):
        arrows += [f"up{i} --> decoder{i}", f"encoder{i} -- skip --> decoder{i}"]
        if i:
            arrows.append(f"decoder{i} --> up{i - 1}")
    arrows += [f"decoder{name[4:]} --> {name}" for name in names if name.startswith("head")]
    lines = [f'    {one.name}["{one.blocks}<br/>{_shape(one)}"]' for one in stages]
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


def _shape(stage: Stage) -> str:
    unit = "channel" if stage.channels == 1 else "channels"
    return f"{stage.channels} {unit}, {' x '.join(map(str, stage.grid))}"
