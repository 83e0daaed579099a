"""Print the plan of one fingerprint with its reasons, and how all plans compare with nnU-Net v1's.

python -m tests.reference.plans [msd_hepaticvessel]
"""

import json
import sys
from pathlib import Path

from tsfm_pipeline.planning.dataset_plan import DatasetPlan
from tsfm_pipeline.planning.fingerprint import Fingerprint
from tsfm_pipeline.planning.plan import StagePlan, plan_dataset
from tsfm_pipeline.planning.settings import PlanningSettings

HERE = Path(__file__).parent
POOL_SPACING = (1.5, 1.0, 1.0)


def fingerprints() -> dict[str, Fingerprint]:
    """Return the fingerprints of tests/reference/fingerprints.py."""
    content = json.loads((HERE / "fingerprints.json").read_text())
    return {name: Fingerprint(dataset=name, **row) for name, row in content.items()}


def show_example(fingerprint: Fingerprint) -> None:
    """Print one plan in words."""
    plan = DatasetPlan.of(fingerprint, PlanningSettings(), POOL_SPACING)
    own = plan.nnunet
    print(f"{own.dataset}: {own.cases} cases, median {_text(own.median_shape)} voxels of")
    print(f"{_text(own.median_spacing)} mm, planned for {own.memory_gb:g} GB\n")
    print("| choice | value | reason |\n|---|---|---|")
    _row("target spacing, mm", _text(own.target_spacing.spacing), own.target_spacing.reason)
    for name, value in (
        ("memory_gb", f"{own.memory_gb:g}"),
        ("axes", " ".join("zyx"[axis] for axis in own.axes)),
        ("normalisation", ", ".join(own.normalisation.values())),
        ("lowres", "yes" if own.lowres else "no"),
        ("batch_dice", str(own.fullres.batch_dice)),
    ):
        _row(name, value, own.reasons[name])
    for stage in (own.fullres, own.lowres):
        if stage is not None:
            _show_stage(stage)
    for name in ("patch", "batch_size"):
        value = plan.tsfm.patch if name == "patch" else plan.tsfm.batch_size
        _row(f"TSFM at {_text(POOL_SPACING)} mm: {name}", _text(value), plan.tsfm.reasons[name])
    kept = ", ".join(f"{size} {gib:g}" for size, gib in plan.tsfm.activation_gib.items())
    _row("TSFM: GiB kept per sample", kept, plan.tsfm.reasons["activation_gib"])


def _show_stage(stage: StagePlan) -> None:
    topology = stage.topology
    _row(f"{stage.name}: spacing, mm", _text(stage.spacing), "")
    for name, value in (
        ("patch", _text(topology.patch)),
        ("pools", _text(topology.pools)),
        ("kernels", ", ".join("".join(map(str, kernel)) for kernel in topology.kernels)),
        ("batch_size", str(stage.batch_size)),
        ("dummy_2d", str(stage.dummy_2d)),
    ):
        _row(f"{stage.name}: {name}", value, stage.reasons[name])


def show_comparison() -> None:
    """Print ours beside nnU-Net v1's."""
    theirs = json.loads((HERE / "nnunet_v1_plans.json").read_text())
    print("| fingerprint | GB | target spacing | patch | batch | nnU-Net v1's | low resolution |")
    print("|---|---|---|---|---|---|---|")
    known = fingerprints()
    for memory, plans in theirs.items():
        for name, plan in plans.items():
            ours = plan_dataset(known[name], PlanningSettings(memory_gb=float(memory)))
            full = plan["stages"][-1]
            low = plan["stages"][0] if len(plan["stages"]) > 1 else None
            cells = [
                name,
                memory,
                _text(ours.fullres.spacing),
                _text(ours.fullres.topology.patch),
                str(ours.fullres.batch_size),
                f"{_text(full['patch_size'])}, batch {full['batch_size']}",
                f"{_text(ours.lowres.topology.patch) if ours.lowres else 'none'}"
                f" (nnU-Net v1: {_text(low['patch_size']) if low else 'none'})",
            ]
            print(f"| {' | '.join(cells)} |")


def _row(name: str, value: str, reason: str) -> None:
    print(f"| {name} | {value} | {reason} |")


def _text(values: object) -> str:
    if isinstance(values, tuple | list):
        return " x ".join(f"{value:.4g}" for value in values)
    return str(values)


if __name__ == "__main__":
    show_example(fingerprints()[sys.argv[1] if sys.argv[1:] else "msd_hepaticvessel"])
    print()
    show_comparison()
