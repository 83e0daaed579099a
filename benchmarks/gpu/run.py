"""Measure training and inference on one GPU; everything in one command of under ten minutes.

    PYTHONPATH=src python benchmarks/gpu/run.py                    # on the GPU
    PYTHONPATH=src python benchmarks/gpu/run.py --only compiled    # add what time did not allow
    PYTHONPATH=src python benchmarks/gpu/run.py --dry-run          # on a CPU, tiny: does it run?

Needs torch, numpy, scipy and pydantic; the loader figures blosc2 and batchgeneratorsv2, too. Kedro
and MLflow are not needed. Figures go to benchmarks/gpu/results/<device>.json as they come, so that
a run that is cut off keeps what it has; `report.py` writes them into results/README.md. Floating
point utilisation counts 3 forward passes a step (what is computed again is not counted) against
the data sheet's dense bf16 rate.
"""

import argparse
import gc
import json
import os
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.network.footprint import footprint
from tsfm_pipeline.network.sizes import PAPER_PATCH, SIZES
from tsfm_pipeline.network.tsfm import TSFM
from tsfm_pipeline.training.losses import RegionLoss, combine, region_ids

RESULTS = Path(__file__).parent / "results"
PEAK_TFLOPS = {
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "H200": 989,
    "A100": 312,
    "L40S": 362,
}
"""Dense bf16 rates of the data sheets, by a part of the device's name; the first that fits."""
TARGETS = 30
WARM_UP, STEPS = 2, 5


class Dossier:
    """The figures so far, on disk after each."""

    def __init__(self, device: torch.device, seconds: float, dry: bool, only: str) -> None:
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu dry run"
        self.path = RESULTS / f"{re.sub('[^A-Za-z0-9]+', '_', name).lower()}.json"
        self.device, self.dry, self.only = device, dry, only
        self.ends = time.monotonic() + seconds
        self.figures: dict[str, Any] = {
            "device": name,
            "torch": torch.__version__,
            "cores": os.cpu_count(),
            "date": time.strftime("%Y-%m-%d"),
        }
        if only and self.path.exists():
            self.figures = json.loads(self.path.read_text())

    @contextmanager
    def figure(self, name: str, needs_seconds: float) -> Iterator[dict[str, Any]]:
        """Collect one figure; an error becomes the figure, and the next goes on."""
        values: dict[str, Any] = {}
        if self.only not in name:
            yield {"skipped": True}
            return
        # here, not at the end: what the last figure measured has gone out of scope only now
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()
        left = self.ends - time.monotonic()
        started = time.monotonic()
        try:
            if left < needs_seconds:
                values["not measured"] = f"{left:.0f} s left, about {needs_seconds:.0f} s needed"
                values["skipped"] = True
            yield values
        except Exception as error:  # out of memory is a finding, not the end
            traceback.print_exc()
            values["error"] = f"{type(error).__name__}: {str(error)[:200]}"
        values["took"] = round(time.monotonic() - started, 1)
        self.figures[name] = values
        RESULTS.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(self.figures, indent=1) + "\n")
        print(f"{name}: {json.dumps(values)}", flush=True)


def table_and_regions() -> tuple[LabelTable, tuple[str, ...]]:
    """Return a made-up table of as many targets as the pool has."""
    table = LabelTable(targets={f"target{i}": i for i in range(1, TARGETS + 1)})
    return table, tuple(table.targets)


def make_step(
    dossier: Dossier,
    size: str,
    patch: tuple[int, int, int],
    batch: int,
    *,
    channels_last: bool,
    dtype: torch.dtype,
    checkpointing: bool,
    compiled: bool,
) -> Callable[[], None]:
    """Return one training step as the loop takes it: loss, gradient, clipping, SGD."""
    device = dossier.device
    layout = torch.channels_last_3d if channels_last else torch.contiguous_format
    with torch.device(device):
        network = TSFM(1, TARGETS, SIZES[size], patch).to(memory_format=layout)
        image = torch.randn(batch, 1, *patch).contiguous(memory_format=layout)
        labels = torch.randint(0, TARGETS + 1, (batch, *patch), dtype=torch.uint8)
        annotated = torch.zeros(batch, TARGETS, dtype=torch.bool)
    annotated[:, :15] = True  # a multi-organ case
    network.checkpointing = checkpointing
    model = torch.compile(network) if compiled else network
    table, regions = table_and_regions()
    loss_of = RegionLoss(region_ids(table, regions).to(device))
    optimizer = torch.optim.SGD(
        network.parameters(), 1e-4, momentum=0.99, nesterov=True, weight_decay=1e-3
    )
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def step() -> None:
        optimizer.zero_grad()
        half = device.type == "cuda"
        with torch.autocast(device.type, dtype=dtype, enabled=half):
            outputs = model(image)
        terms = loss_of.terms(outputs, labels, annotated)
        loss = combine(loss_of, terms.entropy_L, terms.counts_L2K)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        scaler.step(optimizer)
        scaler.update()

    return step


def timed(dossier: Dossier, run: Callable[[], None], repeats: int) -> float:
    """Return the median seconds of a call."""
    seconds = []
    for _ in range(repeats):
        if dossier.device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        if dossier.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def measure_training(
    dossier: Dossier, name: str, size: str, patch: tuple[int, int, int], batch: int, **how: Any
) -> None:
    """Add seconds per iteration, peak memory and utilisation of a way to train."""
    needs_seconds = 270 if how["compiled"] else 60 if size.startswith("huge") else 30
    with dossier.figure(name, needs_seconds) as values:
        if "skipped" in values:
            return
        step = make_step(dossier, size, patch, batch, **how)
        started = time.perf_counter()
        timed(dossier, step, WARM_UP)
        values["warm-up s"] = round(time.perf_counter() - started, 3)
        if dossier.device.type == "cuda":
            # the search for convolution algorithms has tried large workspaces
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = timed(dossier, step, STEPS if not dossier.dry else 1)
        values |= {
            "size": size,
            "patch": patch,
            "batch": batch,
            "s per iteration": round(seconds, 4),
            "samples per s": round(batch / seconds, 4),
        }
        flops = 3 * batch * footprint(SIZES[size], 1, TARGETS, patch).forward_flops
        values["TFLOP per s"] = round(flops / seconds / 1e12, 2)
        if dossier.device.type == "cuda":
            values["peak GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        device_name = dossier.figures["device"]
        peak = next((rate for key, rate in PEAK_TFLOPS.items() if key in device_name), None)
        if peak:
            values["utilisation"] = round(flops / seconds / 1e12 / peak, 3)


def profile_step(
    dossier: Dossier, size: str, patch: tuple[int, int, int], batch: int, **how: Any
) -> None:
    """Add where the time of a step goes, by operation."""
    with dossier.figure("profile", needs_seconds=45) as values:
        if "skipped" in values:
            return
        step = make_step(dossier, size, patch, batch, compiled=False, **how)
        step()
        activities = [torch.profiler.ProfilerActivity.CPU]
        if dossier.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as profile:
            step()
            if dossier.device.type == "cuda":
                torch.cuda.synchronize()
        cuda = dossier.device.type == "cuda"
        # an operator's row repeats the time of its kernels, which have rows of their own
        wanted = torch.autograd.DeviceType.CUDA if cuda else torch.autograd.DeviceType.CPU
        rows = [
            (row.key, (row.self_device_time_total if cuda else row.self_cpu_time_total) / 1e3)
            for row in profile.key_averages()
            if row.device_type == wanted
        ]
        by_name: Counter[str] = Counter()
        for key, spent in rows:
            by_name[key[:90]] += spent  # what differs later is a template's argument
        values["ms by operation"] = {key: round(spent, 2) for key, spent in by_name.most_common(20)}


def measure_augmentation(dossier: Dossier, patch: tuple[int, int, int], batch: int) -> None:
    """Add the time to vary a batch on the device, as a median over many draws."""
    with dossier.figure("augmentation on the device", needs_seconds=20) as values:
        if "skipped" in values:
            return
        from tsfm_pipeline.model.training_settings import AugmentationSettings  # noqa: PLC0415
        from tsfm_pipeline.training.augmentation import Augmentation  # noqa: PLC0415
        from tsfm_pipeline.training.device_augmentation import DeviceAugmentation  # noqa: PLC0415

        table, regions = table_and_regions()
        single = Augmentation(AugmentationSettings(), patch, table, regions)
        device_augmentation = DeviceAugmentation(single, patch)
        with torch.device(dossier.device):
            image = torch.randn(batch, 1, *single.enlarged)
            labels = torch.randint(0, TARGETS, (batch, *single.enlarged), dtype=torch.uint8)
        no, yes = torch.zeros(batch).bool(), torch.ones(batch).bool()
        seconds = []
        draws = 4 if dossier.dry else 40
        for number in [*range(draws), *range(draws)]:  # a transform's first use starts its kernels
            seeds = torch.arange(batch) + number * batch
            seconds.append(
                timed(
                    dossier,
                    lambda seeds=seeds: device_augmentation(image, labels, seeds, no, yes),
                    1,
                )
            )
        values |= {
            "mean s per batch": round(float(np.mean(seconds[draws:])), 5),
            "worst s": round(max(seconds[draws:]), 5),
        }


def measure_loader(dossier: Dossier, patch: tuple[int, int, int], batch: int) -> None:
    """Add samples per second that loader processes give, varied there or left to the device."""
    for where in ("device", "workers"):
        with dossier.figure(f"loader, augmentation in {where}", needs_seconds=45) as values:
            if "skipped" in values:
                continue
            from loader import samples_per_second  # noqa: PLC0415

            workers = 2 if dossier.dry else min(os.cpu_count() or 1, 16)
            shape = (40, 50, 60) if dossier.dry else (200, 410, 410)
            rate = samples_per_second(shape, patch, batch, workers, where, dossier.dry)
            values.update(rate)


def measure_inference(dossier: Dossier, size: str, patch: tuple[int, int, int]) -> None:
    """Add the seconds of a 512 x 512 x 300 CT (0.8 mm, 1.5 mm slices) at 1.5 x 1 x 1 mm."""
    with dossier.figure(f"inference, {size}", needs_seconds=40) as values:
        if "skipped" in values:
            return
        from tsfm_pipeline.inference.settings import InferenceSettings  # noqa: PLC0415
        from tsfm_pipeline.inference.sliding_window import predict_tiles, steps  # noqa: PLC0415

        shape = (40, 48, 56) if dossier.dry else (300, 410, 410)
        image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
        with torch.device(dossier.device):
            network = TSFM(1, TARGETS, SIZES[size], patch).eval()
        tiles = int(np.prod([len(starts) for starts in steps(shape, patch)]))

        def predict(volume: np.ndarray) -> None:
            predict_tiles(
                network,
                volume,
                patch=patch,
                channels=list(range(TARGETS)),
                settings=InferenceSettings(tile_batch=2),
                device=dossier.device,
            )

        doubled = tuple(min(side, 2 * edge) for side, edge in zip(shape, patch, strict=True))
        predict(image[:, *(slice(side) for side in doubled)])  # warm-up
        if dossier.device.type == "cuda":
            torch.cuda.empty_cache()
        seconds = timed(dossier, lambda: predict(image), 1)
        values |= {"s": round(seconds, 2), "tiles": tiles, "volume": shape}


def main() -> None:
    """Measure everything that time allows, the most wanted first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=560, help="stop starting figures after")
    parser.add_argument("--only", default="", help="figures with this in their names; keep others")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU")
    arguments = parser.parse_args()
    dry = arguments.dry_run
    if not dry and not torch.cuda.is_available():
        sys.exit("torch sees no GPU; --dry-run tries the script on the CPU")
    torch.backends.cudnn.benchmark = True  # as our training loop and nnU-Net's do
    dossier = Dossier(
        torch.device("cpu" if dry else "cuda"), arguments.seconds, dry, arguments.only
    )
    patch = (16, 32, 32) if dry else PAPER_PATCH
    huge, huge6, base = ("tiny",) * 3 if dry else ("huge", "huge6", "base")
    with dossier.figure("parameters", needs_seconds=5) as values:
        for size in SIZES if "skipped" not in values else ():
            cost = footprint(SIZES[size], 1, TARGETS, patch)
            values[size] = {
                "parameters": cost.parameters,
                "forward TFLOP": cost.forward_flops / 1e12,
            }
    ours = {"channels_last": False, "dtype": torch.bfloat16, "checkpointing": True}  # conf/paper
    kept = ours | {"checkpointing": False}
    theirs = {"channels_last": False, "dtype": torch.float16, "checkpointing": False}
    for name, size, batch, how in (
        ("huge, ours", huge, 2, ours),
        ("huge, ours without checkpointing", huge, 2, kept),
        ("huge, eager fp16, same checkpointing", huge, 2, theirs | {"checkpointing": True}),
        ("huge, eager fp16, batch 1", huge, 1, theirs),
        ("huge6, ours", huge6, 2, ours),
        ("huge6, ours without checkpointing", huge6, 2, kept),
        ("base, ours", base, 2, kept),
        ("base, eager fp16", base, 2, theirs),
        ("huge, ours channels-last", huge, 2, ours | {"channels_last": True}),
    ):
        measure_training(dossier, name, size, patch, batch, **how, compiled=False)
    profile_step(dossier, huge, patch, 2, **ours)
    measure_augmentation(dossier, patch, 2)
    measure_inference(dossier, base, patch)
    measure_loader(dossier, patch, 2)
    measure_inference(dossier, huge, patch)
    # last: compiling takes minutes
    for name, how in (
        ("huge, ours compiled", ours),
        ("huge, ours without checkpointing, compiled", kept),
    ):
        measure_training(dossier, name, huge, patch, 2, **how, compiled=not dry)


if __name__ == "__main__":
    main()
