"""Learning rates against the formulas written out."""

from collections.abc import Callable

import pytest
import torch

from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.training.schedule import learning_rates

MakeSettings = Callable[..., TrainingSettings]


def test_polynomial_decay(make_settings: MakeSettings) -> None:
    settings = make_settings(epochs=1000, learning_rate=0.01)
    for epoch in (0, 1, 500, 999):
        assert learning_rates(settings, epoch) == pytest.approx(
            [0.01 * (1 - epoch / 1000) ** 0.9] * 2
        )


def test_half_a_cosine_after_the_warm_up(make_settings: MakeSettings) -> None:
    settings = make_settings(epochs=12, learning_rate=2.0, warmup_epochs=2, schedule="cosine")
    rates = [learning_rates(settings, epoch).body for epoch in range(12)]
    # torch's CosineAnnealingLR over the ten epochs after the warm-up
    (parameter,) = parameters = [torch.nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.SGD(parameters, lr=2.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    theirs = []
    for _ in range(10):
        theirs.append(optimizer.param_groups[0]["lr"])
        parameter.grad = torch.zeros(1)
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1.0, 2.0, *theirs])


def test_heads_first_then_warm_up_then_decay(make_settings: MakeSettings) -> None:
    settings = make_settings(
        epochs=20, learning_rate=1.0, heads_first_epochs=4, warmup_epochs=5, poly_power=1.0
    )
    rates = [learning_rates(settings, epoch) for epoch in range(20)]
    assert [rate.body for rate in rates[:4]] == [0] * 4
    assert [rate.heads for rate in rates[:4]] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert [rate.body for rate in rates[4:9]] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert [rate.body for rate in rates[9:]] == pytest.approx([1 - e / 11 for e in range(11)])
    assert all(rate.body == rate.heads for rate in rates[4:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 5, "heads_first_epochs": 2, "warmup_epochs": 3}, "leave none of 5 epochs"),
        ({"batch_size": 2, "micro_batches": 3}, "make it a multiple of 3"),
        ({"batch_size": 2, "parallel": {"processes": 4}}, "make it a multiple of 4"),
        ({"parallel": {"machines": 2}}, "is no host:port"),
        ({"patch": (0, 16, 16)}, "greater than 0"),
    ],
)
def test_impossible_settings(
    make_settings: MakeSettings, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_settings(**changes)
