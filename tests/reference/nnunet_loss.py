"""Make nnunet_loss.json: nnU-Net 1.7.1's DC_and_CE_loss on one made-up batch.

Run in an environment of its own that has torch and nnunet 1.7.1:
    python tests/reference/nnunet_loss.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from nnunet.training.loss_functions.dice_loss import DC_and_CE_loss

rng = np.random.default_rng(7)
logits = rng.normal(size=(2, 3, 4, 5, 6))
labels = rng.integers(0, 4, (2, 1, 4, 5, 6))
classes = torch.tensor(logits, requires_grad=True)
background = torch.zeros(2, 1, 4, 5, 6, dtype=classes.dtype)
loss = DC_and_CE_loss({"batch_dice": True, "smooth": 1e-5, "do_bg": False}, {})
value = loss(torch.cat((background, classes), 1), torch.tensor(labels))
value.backward()
content = {
    "logits": logits.round(6).tolist(),
    "labels": labels[:, 0].tolist(),
    "loss": value.item(),
    "gradient": classes.grad.numpy().round(9).tolist(),
}
Path(__file__).with_suffix(".json").write_text(json.dumps(content))
