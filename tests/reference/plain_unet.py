"""Make plain_unet.json: counts, layers and output values of nnU-Net's own U-Net for several plans.

Run from the repository's root in an environment with dynamic-network-architectures 0.4.4:

    python -m tests.reference.plain_unet

Weights are set by formula in the order in which layers run, so nothing has to be copied between
two implementations, and layers that run in another order show.
"""

import json
from pathlib import Path

import torch
from torch import nn

FILE = Path(__file__).parent / "plain_unet.json"
CUBE, FLAT = (3, 3, 3), (1, 3, 3)
HALVED, IN_PLANE = (2, 2, 2), (1, 2, 2)

# name: spacing (mm), patch, strides and kernels that nnU-Net plans, grid that is put in
PLANS = {
    "isotropic": ((1.0, 1.0, 1.0), (40, 56, 40), (HALVED,) * 3, (CUBE,) * 4, (16, 24, 16)),
    "the paper's patch": (
        (1.0, 1.0, 1.0),
        (112, 160, 192),
        (*(HALVED,) * 4, IN_PLANE),
        (CUBE,) * 6,
        (32, 32, 64),
    ),
    "prostate": (
        (3.6, 0.62, 0.62),
        (20, 320, 256),
        (IN_PLANE, IN_PLANE, HALVED, HALVED, IN_PLANE, IN_PLANE),
        (FLAT, FLAT, *(CUBE,) * 5),
        (8, 64, 128),
    ),
    "thin": (
        (10.0, 1.5, 1.5),
        (8, 256, 224),
        (IN_PLANE, IN_PLANE, HALVED, IN_PLANE, IN_PLANE),
        (FLAT, FLAT, *(CUBE,) * 4),
        (2, 64, 64),
    ),
}
IN_CHANNELS, OUT_CHANNELS = 2, 3
CHANNELS, FEW_CHANNELS, MOST_CHANNELS = 32, 4, 320


def reference(channels, strides, kernels):
    """Build nnU-Net v2's network of a plan, as its plans file configures it."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    stages = len(kernels)
    return PlainConvUNet(
        IN_CHANNELS,
        stages,
        [min(channels * 2**stage, MOST_CHANNELS) for stage in range(stages)],
        nn.Conv3d,
        kernels,
        [(1, 1, 1), *strides],
        2,
        OUT_CHANNELS,
        2,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )


def layers_run(network, image):
    """Return the layers that have parameters as they run, the heads (1x1x1) apart."""
    layers, heads = [], []

    def note(module, inputs, output):
        (heads if getattr(module, "kernel_size", None) == (1, 1, 1) else layers).append(module)

    handles = [
        module.register_forward_hook(note)
        for module in network.modules()
        if not list(module.children()) and list(module.parameters())
    ]
    with torch.no_grad():
        network.train()(image)
    for handle in handles:
        handle.remove()
    return layers, heads


def described(layer):
    if isinstance(layer, nn.InstanceNorm3d):
        return [type(layer).__name__, layer.num_features, layer.eps]
    numbers = [layer.in_channels, layer.out_channels, *layer.kernel_size, *layer.stride]
    return [type(layer).__name__, *numbers, *layer.padding]


def set_by_formula(layers, heads):
    """Give the n-th layer weights that any implementation can be given, too."""
    # heads run coarsest first, and nnU-Net has one more: count them from the finest
    numbered = [*enumerate(layers), *((-1 - n, head) for n, head in enumerate(heads[::-1]))]
    for number, layer in numbered:
        with torch.no_grad():
            for offset, parameter in enumerate((layer.weight, layer.bias)):
                places = torch.arange(parameter.numel(), dtype=torch.float64)
                wave = torch.sin(places * 1.7 + places**2 * 0.3 + 5 * number + offset)
                if parameter.ndim > 1:
                    wave = wave * 2 / parameter[0].numel() ** 0.5
                parameter.copy_(wave.view(parameter.shape) + isinstance(layer, nn.InstanceNorm3d))


def image(grid):
    places = torch.arange(IN_CHANNELS * grid[0] * grid[1] * grid[2], dtype=torch.float64)
    return torch.sin(places * 0.9 + places**2 * 0.01).float().view(1, IN_CHANNELS, *grid)


def samples(network, grid):
    """Return 20 values of each output, finest first, spread over it."""
    network.train()
    with torch.no_grad():
        outputs = network(image(grid))
    places = [torch.linspace(0, output.numel() - 1, 20).long() for output in outputs]
    return [output.flatten()[at].tolist() for output, at in zip(outputs, places, strict=True)]


def answers(build, grid):
    """Return what is compared: parameters, layers as they run, and values of the outputs.

    Args:
        build: makes the network from a number of channels.
        grid: voxels that are put in.
    """
    network = build(FEW_CHANNELS)
    layers, heads = layers_run(network, image(grid))
    set_by_formula(layers, heads)
    with torch.device("meta"):
        wide = build(CHANNELS)
        layers, _ = layers_run(wide, torch.empty(1, IN_CHANNELS, *grid))
    return {
        "parameters": sum(parameter.numel() for parameter in wide.parameters()),
        "layers": [described(layer) for layer in layers],
        "outputs": samples(network, grid),
    }


def main():
    rows = {}
    for name, (_, _, strides, kernels, grid) in PLANS.items():
        rows[name] = answers(lambda channels: reference(channels, strides, kernels), grid)  # noqa: B023
    FILE.write_text(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main()
