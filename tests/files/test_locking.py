"""A lock whose owner is told to whoever waits for it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

from tsfm_pipeline.files.locking import waiting_lock

HOLD = """
import sys, time
from pathlib import Path
from tsfm_pipeline.files.locking import waiting_lock
with waiting_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_who_waits_says_for_whom_and_since_when(tmp_path, caplog):
    path = tmp_path / "training.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        an_hour_ago = time.time() - 3600
        os.utime(path, (an_hour_ago, an_hour_ago))
        entered = threading.Event()

        def wait() -> None:
            with waiting_lock(path):
                entered.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.wait(1.0)
        owner.send_signal(signal.SIGKILL)  # the system releases what it held
        assert entered.wait(30)
        waiting.join()
    (record,) = caplog.records
    host = socket.gethostname()
    said = f"Waiting for process {owner.pid} on {host}, which has held {path} for 60.0 min"
    assert record.getMessage() == said


def test_a_free_lock_is_taken_without_a_word(tmp_path, caplog):
    for _ in range(2):
        with waiting_lock(tmp_path / "lock"):
            assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")
    assert not caplog.records
