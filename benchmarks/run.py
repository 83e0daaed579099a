"""Run the benchmarks behind the figures of README and docs, and write docs/benchmarks.md.

    make benchmarks                              # 20 minutes on two quiet cores
    python benchmarks/run.py --only NAME ...     # some; the figures of the others are kept

Each script runs alone and hands its figures over (figures.py). They go, with machine, load,
versions and date, to results/MACHINE.json, which page.py turns into the page. What needs
.venv-nnunet (`make nnunet`) or the folder of real volumes that TSFM_REALDATA names is left out
where that is absent, and the page says so.
"""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import page
from figures import FILE

from tsfm_pipeline.files import write_text

PROJECT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
NNUNET_PYTHON = Path(".venv-nnunet/bin/python")
NNUNET = ("--reference-python", str(NNUNET_PYTHON))
REAL_DATA = "TSFM_REALDATA"
PACKAGES = ("numpy", "scipy", "torch", "blosc2", "SimpleITK", "monai")
PEER_PACKAGES = ("nnunetv2", "dynamic_network_architectures", "numpy", "scipy", "torch", "blosc2")


@dataclass(frozen=True)
class Benchmark:
    """One script with its arguments.

    Attributes:
        title: what it measures.
        pages: where its figures stand, in docs/.
        command: arguments of Python.
        peer: arguments that bring in nnU-Net v2, where its environment is there.
        real: whether it reads the folder of TSFM_REALDATA.
        on_request: whether it takes so long, or so much, that only `--only` runs it.
        picture: what it draws, in docs/.
    """

    title: str
    pages: tuple[str, ...]
    command: tuple[str, ...]
    peer: tuple[str, ...] = ()
    real: bool = False
    on_request: bool = False
    picture: str = ""


BENCHMARKS = {
    "resampling": Benchmark(
        "Resampling a CT with labels of organs' sizes",
        ("preparing_at_scale.md", "decisions.md"),
        ("benchmarks/resampling.py",),
        NNUNET,
    ),
    "resampling_dense": Benchmark(
        "Resampling a CT with labels that are nearly all border",
        ("preparing_at_scale.md",),
        ("benchmarks/resampling.py", "--labels", "blobs"),
        NNUNET,
    ),
    "resampling_real": Benchmark(
        "Resampling real CTs with labels",
        ("preparing_at_scale.md",),
        ("benchmarks/resampling.py", "--real"),
        NNUNET,
        real=True,
    ),
    "label_resampling": Benchmark(
        "Resampling a label map of 57 classes",
        ("preparing_at_scale.md",),
        ("benchmarks/label_resampling.py",),
    ),
    "preparation": Benchmark(
        "Preparing a dataset, beyond start-up; ours screens it, too",
        ("preparing_at_scale.md",),
        ("benchmarks/preparation.py", "--cases", "8"),
        NNUNET,
    ),
    "patch_reading": Benchmark(
        "Reading a patch of a prepared case, image and labels",
        ("preparing_at_scale.md",),
        ("benchmarks/patch_reading.py",),
    ),
    "rerun": Benchmark(
        "A second run in which nothing changed",
        ("preparing_at_scale.md",),
        ("benchmarks/rerun.py",),
    ),
    "screening": Benchmark("Screening", ("bad_input.md",), ("benchmarks/screening.py",)),
    "audit": Benchmark("The audit of labels", ("pool_catalogue.md",), ("benchmarks/audit.py",)),
    "leakage": Benchmark(
        "Comparing every two cases of a pool", ("pool_catalogue.md",), ("benchmarks/leakage.py",)
    ),
    "duplicate_threshold": Benchmark(
        "How far thumbnails correlate",
        ("pool_catalogue.md",),
        ("benchmarks/duplicate_threshold.py",),
        real=True,
    ),
    "network_step": Benchmark(
        "A training step beside the reference networks",
        ("network.md",),
        ("benchmarks/network_step.py",),
        NNUNET,
    ),
    "cpu_step": Benchmark(
        "A training step on the CPU by memory layout and number format",
        ("training.md",),
        tuple("benchmarks/cpu_step.py --size tiny --patch 48 32 48 --outputs 30".split()),
    ),
    "sliding_window": Benchmark(
        "Sliding window", ("inference.md",), ("benchmarks/sliding_window.py",), NNUNET
    ),
    "export": Benchmark(
        "Export onto the scan's grid", ("inference.md",), ("benchmarks/export.py",), NNUNET
    ),
    "busy_neighbour": Benchmark(
        "Resampling beside other work", ("predict.md",), ("benchmarks/busy_neighbour.py",)
    ),
    "scoring": Benchmark("Scoring a case", ("evaluation.md",), ("benchmarks/scoring.py",)),
    "scan_page": Benchmark(
        "The page of a scan of 512x512x300", ("predict.md",), ("-m", "benchmarks.scan_page")
    ),
    "report_page": Benchmark("The report", ("evaluation.md",), ("benchmarks/report_page.py",)),
    "scale": Benchmark(
        "As work grows", (), ("benchmarks/scale.py",), on_request=True, picture="scale.svg"
    ),
    "huge_memory": Benchmark(
        "Memory of the paper's network on a CPU, by phase",
        (),
        ("benchmarks/huge_memory.py",),
        on_request=True,
    ),
}


def measure(benchmark: Benchmark) -> dict[str, Any]:
    """Run a script; return its figures with all that they depend on, or why there are none."""
    entry: dict[str, Any] = {
        "title": benchmark.title,
        "pages": benchmark.pages,
        "picture": benchmark.picture,
        "figures": [],
    }
    if benchmark.real and not Path(os.environ.get(REAL_DATA, "")).is_dir():
        return entry | {"left_out": f"{REAL_DATA} names no folder of real volumes"}
    command, versions = list(benchmark.command), {"ours": versions_of(sys.executable, PACKAGES)}
    if benchmark.peer and (PROJECT / NNUNET_PYTHON).exists():
        command += benchmark.peer
        versions["peer"] = versions_of(str(PROJECT / NNUNET_PYTHON), PEER_PACKAGES)
    elif benchmark.peer:
        entry["peer_left_out"] = f"nnU-Net v2: there is no {NNUNET_PYTHON} (`make nnunet`)"
    before, started = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        handed_over = Path(folder) / "figures.jsonl"
        environment = os.environ | {FILE: str(handed_over)}
        run = subprocess.run([sys.executable, *command], cwd=PROJECT, env=environment, check=False)
        if handed_over.exists():
            lines = handed_over.read_text(encoding="utf-8").splitlines()
            entry["figures"] = [json.loads(line) for line in lines]
    if run.returncode:
        entry["failed"] = f"exit status {run.returncode}"
    shown = f"{REAL_DATA}=FOLDER python" if benchmark.real else "python"
    return entry | {
        "command": f"{shown} {shlex.join(command)}",
        "seconds": round(time.monotonic() - started, 1),
        "load_before": round(before, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions,
    }


def versions_of(python: str, packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions in an environment, of Python and of the packages that it has."""
    code = (
        "import importlib.metadata as m, json, platform, sys\n"
        "found = {d.name.replace('-', '_').lower(): d.version for d in m.distributions()}\n"
        "wanted = {p: found[p.lower()] for p in sys.argv[1:] if p.lower() in found}\n"
        "print(json.dumps({'Python': platform.python_version()} | wanted))"
    )
    run = subprocess.run(
        [python, "-c", code, *packages], check=True, capture_output=True, text=True
    )
    return dict(json.loads(run.stdout))


def machine() -> dict[str, Any]:
    """Describe this machine."""
    facts = {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0))}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            facts["processor"] = line.partition(":")[2].strip()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return facts | {"memory_gib": round(total / 2**30), "system": platform.platform()}


def main() -> int:
    """Measure, and write results and page; return 1 if a script failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME", default=())
    arguments = parser.parse_args()
    here = machine()
    slug = re.sub(r"\W+", "-", f"{here['processor']} {here['cores']} cores").strip("-").lower()
    path = RESULTS / f"{slug}.json"
    kept = json.loads(path.read_text())["benchmarks"] if path.exists() else {}
    failed = False
    usual = [name for name, benchmark in BENCHMARKS.items() if not benchmark.on_request]
    for name in arguments.only or usual:
        print(f"\n=== {name}: {BENCHMARKS[name].title}", flush=True)
        kept[name] = measure(BENCHMARKS[name])
        print(kept[name].get("left_out") or f"{kept[name]['seconds']} s", flush=True)
        failed |= "failed" in kept[name]
        ordered = {key: kept[key] for key in BENCHMARKS if key in kept}
        RESULTS.mkdir(exist_ok=True)
        results = {"machine": here, "benchmarks": ordered}
        write_text(path, json.dumps(results, indent=1) + "\n")  # what a kill leaves is whole
        page.write(RESULTS, PROJECT / "docs/benchmarks.md")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
