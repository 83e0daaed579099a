"""One optimiser step: the gradient of the global batch, computed in parts that fit the memory.

Shape suffixes: B batch, C image channels, K output channels, L deep-supervision levels, D/H/W
voxels along z, y, x.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.training.group import Group
from tsfm_pipeline.training.losses import Loss, Terms, combine
from tsfm_pipeline.training.parallel import full_tensor, gradient_sync
from tsfm_pipeline.training.schedule import Rates
from tsfm_pipeline.training.transfer import HEADS

MicroBatch = tuple[Tensor, Tensor, Tensor]
"""Images (B, C, D, H, W), labels (B, D, H, W) and annotated channels (B, K), on the device."""

BODY = 0
"""Index of the optimiser's parameter group of everything but the heads."""


class TrainStep:
    """Loss, gradient and optimiser of a network.

    Args:
        network: holds the parameters.
        model: what is called in training: the network itself, or what spreads it over processes.
        loss: of its outputs.
        settings: optimiser and gradient clipping.
        device: where the network lies.
        autocast: number format of the forward pass; None is float32.
        group: the processes that share the global batch.

    Attributes:
        optimizer: with the parameters of the body in its first group, of the heads in its second.
        scaler: of the loss, at work in fp16 alone.
    """

    def __init__(
        self,
        network: nn.Module,
        model: nn.Module,
        loss: Loss,
        settings: TrainingSettings,
        device: torch.device,
        autocast: torch.dtype | None,
        group: Group,
    ) -> None:
        self.network, self.model, self.loss, self.group = network, model, loss, group
        self.settings, self.device, self.autocast = settings, device, autocast
        heads = [p for name, p in network.named_parameters() if name.startswith(HEADS)]
        body = [p for name, p in network.named_parameters() if not name.startswith(HEADS)]
        self.optimizer = _optimizer([{"params": body}, {"params": heads}], settings)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.autocast == torch.float16)

    def set_rates(self, rates: Rates) -> None:
        """Set the learning rates of body and heads."""
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def compute_gradients(self, parts: Sequence[MicroBatch]) -> float:
        """Leave the gradient of the global batch's loss in the parameters; return that loss.

        Args:
            parts: this process's share of the batch.
        """
        if len(parts) == 1:
            entropy_L, counts_L2K = self._in_one_pass(parts[0])
        else:
            entropy_L, counts_L2K = self._in_parts(parts)
        return combine(self.loss, self.group.sum(entropy_L), counts_L2K).item()

    def _in_one_pass(self, part: MicroBatch) -> tuple[Tensor, Tensor]:
        """Compute the gradient in one pass; return this process's entropy and all counts."""
        self.optimizer.zero_grad()
        terms = self._terms(part)
        counts_L2K = self.group.sum(terms.counts_L2K)
        self._backward(terms, counts_L2K)
        return terms.entropy_L.detach(), counts_L2K

    def _in_parts(self, parts: Sequence[MicroBatch]) -> tuple[Tensor, Tensor]:
        """Add up the gradients of parts, whose Dice needs the counts of them all beforehand."""
        with torch.no_grad():
            counts = [self._terms(part).counts_L2K for part in parts]
        counts_L2K = self.group.sum(torch.stack(counts).sum(0))
        entropy_L = counts_L2K.new_zeros(len(counts_L2K))
        self.optimizer.zero_grad()
        for number, part in enumerate(parts):
            with gradient_sync(self.model, when=number == len(parts) - 1):
                terms = self._terms(part)
                self._backward(terms, counts_L2K)
            entropy_L += terms.entropy_L.detach()
        return entropy_L, counts_L2K

    def _terms(self, part: MicroBatch) -> Terms:
        image_BCDHW, labels_BDHW, annotated_BK = part
        with self._autocast():
            outputs = self.model(image_BCDHW)
        return self.loss.terms(outputs, labels_BDHW, annotated_BK)

    def _backward(self, terms: Terms, counts_L2K: Tensor) -> None:
        """Add the gradient of a part, to which the counts of the others are constants."""
        others_L2K = terms.counts_L2K + counts_L2K - terms.counts_L2K.detach()
        loss = combine(self.loss, terms.entropy_L, others_L2K)
        # the processes' gradients are averaged; those of the parts of a batch add up
        self.scaler.scale(loss * self.group.size).backward()  # type: ignore[no-untyped-call]

    def update(self, *, train_body: bool) -> Literal["taken", "overflown", "broken"]:
        """Clip the gradients and update the parameters, unless the gradients are not finite.

        In fp16 the scaler itself leaves out overflown gradients and halves its scale; below a
        scale of 1 it was no overflow.
        """
        if not train_body:
            for parameter in self.optimizer.param_groups[BODY]["params"]:
                parameter.grad = None
        self.scaler.unscale_(self.optimizer)
        parameters = list(self.network.parameters())
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not (self.scaler.is_enabled() or math.isfinite(full_tensor(norm).item())):
            return "broken"  # not clipped: a norm of NaN would make all gradients NaN
        clip_grads_with_norm_(parameters, self.settings.gradient_clip, norm)
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        scale = self.scaler.get_scale()
        if scale < min(before, 1.0):
            return "broken"
        return "overflown" if scale < before else "taken"

    def broken_gradients(self) -> list[str]:
        """Name the parameters whose gradients are not finite."""
        return [
            name
            for name, parameter in self.network.named_parameters()
            if parameter.grad is not None and not bool(full_tensor(parameter.grad).isfinite().all())
        ]

    def region_logits(self, image_BCDHW: Tensor) -> Tensor:
        """Return one logit (B, K, D, H, W) per region, without gradients."""
        with torch.no_grad(), self._autocast():
            return self.loss.region_logits(self.network(image_BCDHW))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=self.autocast, enabled=self.autocast is not None
        )


def _optimizer(groups: list[dict[str, Any]], settings: TrainingSettings) -> torch.optim.Optimizer:
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(
            groups, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        groups,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.momentum > 0,
    )
