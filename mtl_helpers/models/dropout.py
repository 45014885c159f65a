"""Monte-Carlo dropout: many predictions of one network, each with other units left out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd


@torch.no_grad()
def mc_dropout(
    model: nn.Module, inputs: Tensor, *, draws: int = 50, seed: int = 0
) -> dict[str, Tensor]:
    """Predict many times with dropout switched on, and everything else as in evaluation.

    ``model.train()`` would switch batch normalisation too. Modes and the state of the random
    generators are put back afterwards.

    Args:
        model: ``forward(x)`` returns ``{task name: output}``.
        inputs: [N, ...].
        draws: how many predictions.
        seed: draws the masks; the same seed gives the same predictions.

    Returns:
        The outputs of every task, [draws, N, ...]. Average probabilities, not logits.

    Raises:
        ValueError: ``draws`` is below 1, or no dropout layer in the model would do anything
            (``F.dropout`` inside a ``forward`` cannot be found: use ``nn.Dropout``).

    Source: Gal & Ghahramani 2016, arXiv:1506.02142.
    """
    layers = [m for m in model.modules() if isinstance(m, _DropoutNd) and m.p > 0]
    if draws < 1 or not layers:
        raise ValueError(
            "Monte-Carlo dropout needs at least one draw and one nn.Dropout layer with p > 0; "
            f"found draws={draws} and {len(layers)} such layers"
        )
    modes = {module: module.training for module in model.modules()}
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    try:
        model.eval()
        for layer in layers:
            layer.train()
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            found = [model(inputs) for _ in range(draws)]
    finally:
        for module, mode in modes.items():
            module.training = mode
    return {name: torch.stack([one[name] for one in found]) for name in found[0]}
