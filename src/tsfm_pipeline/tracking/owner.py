"""Which process a run belongs to, so that the runs of killed ones can be closed."""

import logging
import os
import socket
from pathlib import Path

from mlflow import MlflowClient

logger = logging.getLogger(__name__)

HOST_TAG, PID_TAG, STARTED_TAG = "tsfm.host", "tsfm.pid", "tsfm.process_started"


def owner_tags() -> dict[str, str]:
    """Name this process: host (and its space of process numbers), number, and time of start."""
    started = _started(os.getpid())
    if started is None:  # a system without /proc
        return {}
    space = Path("/proc/self/ns/pid").readlink().name  # containers number their own processes
    return {
        HOST_TAG: f"{socket.gethostname()} {space}",
        PID_TAG: str(os.getpid()),
        STARTED_TAG: started,
    }


def close_abandoned(experiments: list[str]) -> None:
    """Close as KILLED what processes of this host left running that live no more."""
    tags = owner_tags()
    if not tags:
        return
    client = MlflowClient()
    running = client.search_runs(
        experiments,
        filter_string=f"attributes.status = 'RUNNING' AND tags.`{HOST_TAG}` = '{tags[HOST_TAG]}'",
    )
    for run in running:
        pid = run.data.tags.get(PID_TAG, "")
        if pid.isdigit() and _started(int(pid)) != run.data.tags.get(STARTED_TAG):
            client.set_terminated(run.info.run_id, "KILLED")
            logger.info("Run %s of a killed process is closed as KILLED", run.info.run_name)


def _started(pid: int) -> str | None:
    """Return boot and clock tick at which a process started; None where there is no such one."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return f"{boot} {after_name[19]}"
