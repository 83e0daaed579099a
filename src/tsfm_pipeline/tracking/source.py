"""Which code and machine a run comes from."""

import platform
import subprocess
from pathlib import Path

GIT_COMMIT = "mlflow.source.git.commit"
"""What MLflow's column 'Version' shows; it would look for a repository beside `.venv`."""

PATIENCE_SECONDS = 20
"""For git on a slow file system."""


def source_tags(project: Path) -> dict[str, str]:
    """Name the commit of the project, whether its files differ from it, and the machine.

    Without git, or outside a repository, commit and difference are left out.
    """
    tags = {"machine": platform.node()}
    commit = _output("git", "-C", str(project), "rev-parse", "HEAD")
    if commit:
        changes = _output("git", "-C", str(project), "status", "--porcelain")
        # MLflow's own tags can neither be grouped by nor shown as columns
        tags |= {GIT_COMMIT: commit, "commit": commit[:8], "dirty": str(bool(changes)).lower()}
    return tags


def gpu(device: str) -> str:
    """Name the GPUs that a training with this `device` setting can use; 'none' for the CPU.

    The driver's tool is asked: torch would take memory of the GPU for it.
    """
    if device == "cpu":
        return "none"
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return ", ".join(sorted(set(names.splitlines()))) or "none"


def _output(*command: str) -> str:
    """Return what a command prints; nothing where it is absent, fails or takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
