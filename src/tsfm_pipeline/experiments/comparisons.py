"""Which experiments of the grid are tested against each other."""

from tsfm_pipeline.experiments.grid import (
    ABLATED,
    BUDGETS,
    CT_DOWNSTREAM,
    DOWNSTREAM,
    LONG,
    METHODS,
    ORGAN_SETS,
    SEEDS,
    SMALLER_SIZES,
    TUMOUR_SETS,
    VARIANTS,
)

COMPARISONS: tuple[tuple[str, str], ...] = (
    *(
        ("pretrain.tsfm", f"baseline.{method}.{dataset}")
        for method in METHODS
        for dataset in (*TUMOUR_SETS, *ORGAN_SETS)
    ),
    ("pretrain.tsfm", "pretrain.nnunet"),
    *(
        (f"transfer.{dataset}.pretrained.{budget}", f"transfer.{dataset}.{other}.{budget}")
        for dataset in DOWNSTREAM
        for other in ("scratch", "stunet")
        for budget in BUDGETS
    ),
    *(
        (f"transfer.{dataset}.pretrained.{BUDGETS[-1]}", f"transfer.{dataset}.nnunet.{LONG}")
        for dataset in DOWNSTREAM
    ),
    *(
        (f"transfer.{dataset}.pretrained.epoch100", f"ablation.{row}.{dataset}")
        for row in ABLATED
        for dataset in DOWNSTREAM
    ),
    *(("pretrain.tsfm", f"study.{variant}") for variant in VARIANTS),
    *(("pretrain.tsfm", f"study.size_{size}") for size in SMALLER_SIZES),
    *(
        (f"transfer.{dataset}.pretrained.epoch10", f"study.without_transformer.{dataset}")
        for dataset in DOWNSTREAM
    ),
    *(
        (f"study.seed{seed}.{dataset}.pretrained", f"study.seed{seed}.{dataset}.scratch")
        for seed in SEEDS
        for dataset in DOWNSTREAM
    ),
    *(
        (f"transfer.{dataset}.pretrained.epoch10", f"study.ct_statistics.{dataset}")
        for dataset in CT_DOWNSTREAM
    ),
    *(
        (f"study.seed{seed}.{dataset}.pretrained", f"study.ct_statistics_seed{seed}.{dataset}")
        for seed in SEEDS
        for dataset in CT_DOWNSTREAM
    ),
)
"""(experiment, baseline): TSFM against the systems of Table 1 and S1, against training from scratch
and the systems of Table 2, and the whole pool against other pools (Table 3); TSFM against itself
without one of its parts, in other sizes, or with CT statistics of the downstream dataset."""
