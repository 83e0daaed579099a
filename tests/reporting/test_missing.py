from fnmatch import fnmatchcase

import pandas as pd

from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.reporting.missing import shell_patterns, what_is_missing


def test_experiments_by_status_and_reason(comparison_of, scores_of):
    scores = scores_of(("pretrain.tsfm", "kits21", "kidney", [0.4, 0.6]))
    statuses = pd.DataFrame(
        [
            ("pretrain.tsfm", "finished", ""),
            ("transfer.a", "failed", "disk full"),
            ("transfer.b", "not run", None),
            *((f"study.few{i}.kits19", "not run", "left out") for i in (1, 2, 4)),
            ("study.unmasked_loss", "not run", "left out"),
            ("pretrain.sam_med3d", "needs checkpoint", "name its file"),
        ],
        columns=["experiment", "status", "reason"],
    )
    found = what_is_missing(comparison_of(scores, stale={"pretrain.tsfm"}), statuses)
    assert [(entry.why, entry.reason, entry.patterns) for entry in found] == [
        ("failed", "disk full", {"transfer.a": 1}),
        ("needs checkpoint", "name its file", {"pretrain.sam_med3d": 1}),
        ("not run", "", {"transfer.b": 1}),
        ("not run", "left out", {"study.*": 4}),
        ("stale", "", {"pretrain.tsfm": 1}),
    ]
    assert [entry.number for entry in found] == [1, 1, 1, 4, 1]


def test_patterns_stand_for_what_is_missing_and_nothing_else():
    left_out = [
        name
        for name in EXPERIMENTS
        if name.startswith(("study.", "ablation.pancreas", "baseline.nnunet.")) or "epoch20" in name
    ]
    patterns = shell_patterns(left_out, list(EXPERIMENTS))
    assert len(patterns) <= 5
    assert {"study.*", "ablation.pancreas*", "transfer.*.*.epoch20"} <= set(patterns)
    matched = [n for n in EXPERIMENTS if any(fnmatchcase(n, pattern) for pattern in patterns)]
    assert matched == left_out and sum(patterns.values()) == len(left_out)


def test_a_pattern_never_matches_what_is_there():
    names = ["study.a.x", "study.b.x"]
    assert shell_patterns(names, names) == {"study.*.x": 2}
    assert shell_patterns(names, [*names, "study.c.x"]) == {"study.a.x": 1, "study.b.x": 1}
