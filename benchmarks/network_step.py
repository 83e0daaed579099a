"""Time a training step of a network beside its reference implementation, taking turns.

    python benchmarks/network_step.py [--reference-python .venv-nnunet/bin/python] [--rounds 5]
        [--only nnunet]

nnunet: `PlainConvUNet` of dynamic-network-architectures, which is found in the environment of
`--reference-python` (`make nnunet`), everything else in ours. swinunetr: MONAI's own. A step is
forward, loss over all outputs, backward and SGD, of one sample, on the first GPU (mixed precision)
or the CPU (float32). Medians of the rounds are printed, and their ratio. nnU-Net's network has one
head more, of weight 0.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import torch
from figures import Figure, hand_over
from torch import Tensor, nn

from tsfm_pipeline.imaging.geometry import Triple, TripleFloat
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.build import build_network
from tsfm_pipeline.network.sizes import SwinUNETRSize, UNetShape
from tsfm_pipeline.planning.architecture import architecture_for

OUTPUTS = 3
Setting = tuple[str, str, TripleFloat, Triple]

ISOTROPIC = (1.0, 1.0, 1.0)
SETTINGS: tuple[Setting, ...] = (
    ("nnunet", "tiny", ISOTROPIC, (40, 56, 40)),  # Task04's plan
    ("nnunet", "tiny", (3.6, 0.62, 0.62), (8, 128, 128)),  # flat kernels
    ("swinunetr", "tiny", ISOTROPIC, (32, 32, 64)),
    ("swinunetr", "tiny", ISOTROPIC, (64, 64, 64)),
    ("nnunet", "base", ISOTROPIC, (40, 56, 40)),
    ("swinunetr", "base", ISOTROPIC, (32, 64, 64)),
)


def nnunets(shape: UNetShape) -> nn.Module:
    """Build nnU-Net v2's network of the same plan."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet  # noqa: PLC0415

    stages = len(shape.kernels)
    network: nn.Module = PlainConvUNet(
        1,
        stages,
        [min(shape.channels * 2**stage, 320) for stage in range(stages)],
        nn.Conv3d,
        shape.kernels,
        [(1, 1, 1), *shape.strides],
        2,
        OUTPUTS,
        2,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )
    return network


def monais(size: SwinUNETRSize) -> nn.Module:
    from monai.networks.nets import SwinUNETR  # noqa: PLC0415

    network: nn.Module = SwinUNETR(1, OUTPUTS, feature_size=size.channels, window_size=size.window)
    return network


def make_step(network: nn.Module, patch: Triple, device: torch.device) -> Callable[[], None]:
    """Return a function that trains a network for one step."""
    network.to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.99, nesterov=True)
    image = torch.randn(1, 1, *patch, device=device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            outputs: Sequence[Tensor] | Tensor = network(image)
        outputs = [outputs] if isinstance(outputs, Tensor) else outputs
        torch.stack([output.float().square().mean() for output in outputs]).sum().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def medians(steps: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    seconds: list[list[float]] = [[] for _ in steps]
    for step in steps:
        step()  # warm-up
    for number in range(rounds):
        order = list(zip(steps, seconds, strict=True))
        for step, measured in order if number % 2 else order[::-1]:
            started = time.perf_counter()
            step()
            measured.append(time.perf_counter() - started)
    return [statistics.median(measured) for measured in seconds]


def packages_of(python: str) -> str:
    """Return the folder of another environment's packages."""
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["nnunet", "swinunetr"])
    parser.add_argument("--reference-python", help="interpreter with nnunetv2")
    arguments = parser.parse_args()
    if arguments.reference_python:
        sys.path.append(packages_of(arguments.reference_python))  # last: ours wins
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True  # as in our trainings and nnU-Net's
    print(f"{device.type}, {torch.get_num_threads()} threads; seconds per step")
    print(f"{'network':18}{'patch':14}{'reference':>10}{'ours':>8}{'ratio':>7}")
    for name, size, spacing, patch in SETTINGS:
        if arguments.only not in (None, name):
            continue
        if name == "nnunet" and not arguments.reference_python:
            continue
        settings = TrainingSettings(network=name, size=size, patch=patch)
        architecture = architecture_for(settings, spacing)
        reference = (
            nnunets(architecture) if isinstance(architecture, UNetShape) else monais(architecture)
        )
        ours = build_network(architecture, 1, OUTPUTS, patch)
        steps = [make_step(network, patch, device) for network in (reference, ours)]
        theirs, own = medians(steps, arguments.rounds)
        sides = "x".join(map(str, patch))
        line = f"{name + ' ' + size:18}{sides:14}{theirs:10.3f}{own:8.3f}{own / theirs:7.2f}"
        print(line, flush=True)
        peer = "dynamic-network-architectures" if name == "nnunet" else "monai"
        hand_over(Figure(f"{name} {size}, {sides}", "s a step", own, peer, theirs))


if __name__ == "__main__":
    main()
