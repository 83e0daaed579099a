import pandas as pd

from tsfm_pipeline.reporting.missing import what_is_missing


def test_names_by_reason(comparison_of, scores_of):
    scores = scores_of(("pretrain.tsfm", "kits21", "kidney", [0.4, 0.6]))
    statuses = pd.DataFrame(
        [
            ("pretrain.tsfm", "finished", ""),
            ("transfer.a", "failed", "disk full"),
            ("transfer.b", "not run", None),
            ("pretrain.sam_med3d", "needs checkpoint", "name its file"),
        ],
        columns=["experiment", "status", "reason"],
    )
    found = what_is_missing(comparison_of(scores, stale={"pretrain.tsfm"}), statuses)
    by_reason = {entry.why: entry.names for entry in found}
    assert by_reason["failed"] == ("transfer.a: disk full",)
    assert by_reason["not run"] == ("transfer.b",)
    assert by_reason["stale"] == ("pretrain.tsfm",)
    assert by_reason["needs checkpoint"] == ("pretrain.sam_med3d: name its file",)
