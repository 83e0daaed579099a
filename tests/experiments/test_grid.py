from collections import Counter

import pytest
import yaml

from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.experiments.grid import (
    ABLATED,
    EXPERIMENTS,
    GRID,
    PROMPTED,
    warn_of_untransferred,
)


def test_names_are_unique_also_without_dots() -> None:
    assert len(EXPERIMENTS) == len(GRID) == len({entry.flat_name for entry in GRID})


def test_the_grid_is_that_of_the_papers_tables() -> None:
    # Table 1: TSFM, nnU-Net and STU-Net's pre-training on pools, nnU-Net and SwinUNETR on 7 tumour
    # sets (S1: on 3 of organs); Table 2: 3 datasets x (4 budgets x (pre-trained, scratch, STU-Net),
    # nnU-Net); Table 3: 2 pre-trainings and 2 of ours, each transferred to 3 datasets.
    assert Counter(entry.pipeline for entry in GRID) == {
        "pretrain": 3,
        "baseline": 2 * (7 + 3),
        "transfer": 3 * (4 * 3 + 1),
        "ablation": 4 + 4 * 3,
        "study": 3 + 3 + 3 * (2 + 2 * (3 + 2)) + 2 * 3,
    }


def test_the_study_of_ct_statistics_differs_from_a_transfer_in_them_alone(repository) -> None:
    from tsfm_pipeline.parameters import load_parameters

    settings = load_parameters(str(repository / "conf"), "paper").experiments
    for dataset in ("kits19", "abdomenct1k"):
        for seed, transfer in (
            ("", f"transfer.{dataset}.pretrained.epoch10"),
            ("_seed1", f"study.seed1.{dataset}.pretrained"),
            ("_seed2", f"study.seed2.{dataset}.pretrained"),
        ):
            study = EXPERIMENTS[f"study.ct_statistics{seed}.{dataset}"]
            one, other = settings.training_of(study), settings.training_of(EXPERIMENTS[transfer])
            assert (one.ct_statistics, other.ct_statistics) == ("own", "initial")
            assert one == other.model_copy(update={"ct_statistics": "own"})
            assert study.initial == EXPERIMENTS[transfer].initial == "pretrain.tsfm"
        # published weights come without statistics
        published = settings.training_of(EXPERIMENTS[f"transfer.{dataset}.stunet.epoch10"])
        assert published.ct_statistics == "own"
    # four MR sequences: nothing to keep
    assert not [name for name in EXPERIMENTS if "ct_statistics" in name and "brats" in name]


def test_the_study_of_sizes_differs_from_the_pretraining_in_the_size_alone(repository) -> None:
    from tsfm_pipeline.parameters import load_parameters

    settings = load_parameters(str(repository / "conf"), "paper").experiments
    paper = settings.training_of(EXPERIMENTS["pretrain.tsfm"])
    assert paper is not None and paper.size == "huge"
    for size in ("small", "base", "large"):
        study = EXPERIMENTS[f"study.size_{size}"]
        assert settings.training_of(study) == paper.model_copy(update={"size": size})
        assert settings.why_left_out(study)
        assert ("pretrain.tsfm", study.name) in COMPARISONS


def test_every_experiment_is_wired_into_a_pipeline() -> None:
    from tsfm_pipeline.pipeline_registry import register_pipelines

    nodes = {node.name for node in register_pipelines()["__default__"].nodes}
    assert not [entry.name for entry in GRID if f"{entry.name}.train" not in nodes]


def test_an_experiment_starts_from_one_that_stands_before_it() -> None:
    seen: set[str] = set()
    for entry in GRID:
        assert entry.initial is None or entry.initial in seen
        seen.add(entry.name)


def test_a_downstream_dataset_that_nothing_transfers_to_is_told(caplog) -> None:
    warn_of_untransferred(["kits19", "thyroid"])
    (record,) = caplog.records
    assert "no experiment transfers to thyroid, only to brats2020" in record.getMessage()
    caplog.clear()
    warn_of_untransferred(["kits19", "brats2020", "abdomenct1k"])
    assert not caplog.records


def test_every_experiment_of_a_table_cell_is_in_the_grid(repository) -> None:
    from tsfm_pipeline.reporting.paper_tables import PaperTables

    text = (repository / "conf/base/parameters_paper_tables.yml").read_text()
    tables = PaperTables.model_validate(yaml.safe_load(text)["paper_tables"])
    used = {
        row.experiment_of(column)
        for table in tables.root.values()
        for block in table.blocks
        for row in block.rows
        for column in table.columns
    } - {None, "pretrain.threshold", PROMPTED}
    used = {name for name in used if "*" not in name}
    assert used <= set(EXPERIMENTS)
    only_to_be_transferred = {f"ablation.{row}" for row in ABLATED} | {"pretrain.stunet"}
    beyond = {entry.name for entry in GRID if entry.pipeline == "study"}
    assert set(EXPERIMENTS) - used - beyond == only_to_be_transferred


@pytest.mark.parametrize("entry", GRID, ids=lambda entry: entry.name)
def test_scratch_means_no_initial_weights(entry) -> None:
    scratch = ".scratch" in entry.name or entry.method == "nnunet"
    assert (entry.initial is None) == (scratch or entry.role != "transfer")
    assert entry.trains or entry.initial is not None


def test_each_transfer_runs_by_itself_from_what_is_stored(repository) -> None:
    """As docs/training.md's job array runs them: `kedro run --namespaces NAME`."""
    from kedro.config import OmegaConfigLoader
    from kedro.io import CatalogConfigResolver

    from tsfm_pipeline.pipeline_registry import register_pipelines
    from tsfm_pipeline.settings import CONFIG_LOADER_ARGS

    loader = OmegaConfigLoader(str(repository / "conf"), env="paper", **CONFIG_LOADER_ARGS)
    resolver = CatalogConfigResolver(loader["catalog"])
    transfer = register_pipelines()["transfer"]
    for entry in GRID:
        if entry.pipeline != "transfer":
            continue
        alone = transfer.filter(node_namespaces=[entry.name])
        assert {node.name for node in alone.nodes} == {
            f"{entry.name}.{step}" for step in ("train", "predict", "score")
        }
        read = {name for name in alone.inputs() if not name.startswith("params:")}
        types = {name: resolver.resolve_pattern(name).get("type") for name in read}
        assert not [name for name in read if types[name] in (None, "MemoryDataset")]
        start = {name for name in read if name.endswith("_model")}
        assert start == ({f"pretrain_{entry.method}_model"} if entry.initial else set())
