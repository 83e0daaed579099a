"""Write results/README.md from the results: every figure with its target, or 'not yet measured'.

python benchmarks/gpu/report.py
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tsfm_pipeline.experiments.cost import PEAK_TFLOPS, REACHED, step_flops
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.footprint import footprint
from tsfm_pipeline.network.sizes import PAPER_PATCH, SIZES
from tsfm_pipeline.planning.network_table import POOL_TARGETS

RESULTS = Path(__file__).parent / "results"
NOT_YET = "not yet measured"

LOADER = "loader, augmentation in"
LAST = "huge, ours channels-last"
KEPT, KEPT6 = (f"{size}, ours without checkpointing" for size in ("huge", "huge6"))

Figures = dict[str, Any]


def value(figures: Figures, *path: str) -> Any:
    """Return a nested value; None where it was not measured."""
    found: Any = figures
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def speed_up(figures: Figures) -> float | None:
    """Return our samples per second over the better of the two eager baselines."""
    ours = value(figures, "huge, ours", "samples per s")
    theirs = [
        value(figures, f"huge, eager fp16, {how}", "samples per s")
        for how in ("same checkpointing", "batch 1")
    ]
    measured = [rate for rate in theirs if rate]
    return round(ours / max(measured), 2) if ours and measured else None


def augmentation_share(figures: Figures) -> float | None:
    """Return the time to vary a batch over the time of a step of the base network."""
    spent = value(figures, "augmentation on the device", "mean s per batch")
    step = value(figures, "base, ours", "s per iteration")
    return round(spent / step, 3) if spent and step else None


def loader_margin(figures: Figures) -> float | None:
    """Return samples that loaders give per sample that training the base network takes."""
    given = value(figures, f"{LOADER} device", "samples per s")
    taken = value(figures, "base, ours", "samples per s")
    return round(given / taken, 1) if given and taken else None


def estimate(size: str, *, checkpointing: bool) -> float:
    """Return the seconds of a step of two paper patches that `tsfm-pipeline cost` estimates."""
    network = footprint(SIZES[size], 1, POOL_TARGETS, PAPER_PATCH)
    training = TrainingSettings(size=size, batch_size=2, activation_checkpointing=checkpointing)
    return round(step_flops(network, training) / (REACHED * PEAK_TFLOPS * 1e12), 2)


Keys = tuple[str, ...]
ROWS: list[tuple[str, str, Keys | Callable[[Figures], Any]]] = [
    ("parameters of huge", "1.55e9 to 1.65e9", ("parameters", "huge", "parameters")),
    ("huge, 112x160x192, batch 2: s per iteration", "", ("huge, ours", "s per iteration")),
    (
        "the same, as `tsfm-pipeline cost` estimates of an H100 or H200",
        "",
        lambda _: estimate("huge", checkpointing=True),
    ),
    ("the same: peak memory, GiB", "fits 80 GB", ("huge, ours", "peak GiB")),
    ("the same: model FLOP utilisation", "at least 0.40", ("huge, ours", "utilisation")),
    ("the same, compiled: s per iteration", "", ("huge, ours compiled", "s per iteration")),
    ("the same, channels last: s per iteration", "", (LAST, "s per iteration")),
    ("huge without checkpointing: s per iteration", "", (KEPT, "s per iteration")),
    ("huge without checkpointing: peak memory, GiB", "", (KEPT, "peak GiB")),
    ("huge6, 112x160x192, batch 2: s per iteration", "", ("huge6, ours", "s per iteration")),
    (
        "the same, as `tsfm-pipeline cost` estimates of an H100 or H200",
        "",
        lambda _: estimate("huge6", checkpointing=True),
    ),
    ("huge6: peak memory, GiB", "", ("huge6, ours", "peak GiB")),
    ("huge6 without checkpointing: s per iteration", "", (KEPT6, "s per iteration")),
    ("huge6 without checkpointing: peak memory, GiB", "fits 80 GB", (KEPT6, "peak GiB")),
    ("huge: samples per s over eager fp16", "at least 1.5", speed_up),
    ("base, batch 2: s per iteration", "", ("base, ours", "s per iteration")),
    (
        "the same, as `tsfm-pipeline cost` estimates of an H100 or H200",
        "",
        lambda _: estimate("base", checkpointing=False),
    ),
    ("base, eager fp16: s per iteration", "", ("base, eager fp16", "s per iteration")),
    ("augmentation on the device, share of a step of base", "at most 0.05", augmentation_share),
    ("loader: samples per s, varied on the device", "", (f"{LOADER} device", "samples per s")),
    ("loader: samples per s, varied in the workers", "", (f"{LOADER} workers", "samples per s")),
    ("loader over training of base", "above 1", loader_margin),
    ("inference, base, 512x512x300 CT: s", "", ("inference, base", "s")),
    ("inference, huge, 512x512x300 CT: s", "", ("inference, huge", "s")),
]


def main() -> None:
    """Write the page."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    devices = [figures for figures in found if not figures["device"].startswith("cpu")]
    names = [f"{figures['device']} ({figures['date']})" for figures in devices] or ["GPU"]
    lines = [
        "# Figures of one GPU",
        "",
        "Measured by `PYTHONPATH=src python benchmarks/gpu/run.py`; this page is written by",
        "`python benchmarks/gpu/report.py`. All figures and a profile: the JSON files here.",
        "",
        f"| figure | aim | {' | '.join(names)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for name, aim, get in ROWS:
        cells = [
            value(figures, *get) if isinstance(get, tuple) else get(figures) for figures in devices
        ]
        shown = [NOT_YET if cell is None else str(cell) for cell in cells or [None]]
        lines.append(f"| {name} | {aim} | {' | '.join(shown)} |")
    (RESULTS / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
