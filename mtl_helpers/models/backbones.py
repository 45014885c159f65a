"""Small trunks for the lessons. Each is an ``nn.Sequential`` that ends in flat features [B, F]."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


def mlp(
    inputs: int, hidden: Sequence[int] = (64,), *, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    """Build a multilayer perceptron: flatten, then linear + ReLU for each hidden width.

    Args:
        inputs: numbers in one example, after flattening.
        hidden: width of each hidden layer; the last is the number of features.
        dtype: floating type of the parameters.

    Returns:
        A trunk from [B, ...] (``inputs`` numbers an example) to [B, hidden[-1]].

    Raises:
        ValueError: there is no hidden layer, or a width is below 1.
    """
    widths = [inputs, *hidden]
    if not hidden or min(widths) < 1:
        raise ValueError(f"mlp needs positive widths and a hidden layer; found {widths}")
    layers: list[nn.Module] = [nn.Flatten()]
    for wide, next_wide in pairwise(widths):
        layers += [nn.Linear(wide, next_wide, dtype=dtype), nn.ReLU()]
    return nn.Sequential(*layers)


def tanh_trunk(widths: Sequence[int] = (16, 8), inputs: int = 8) -> nn.Sequential:
    """Build the trunk for the regression families: linear + tanh for each width, float64.

    Args:
        widths: width of each hidden layer; the last is the number of features.
        inputs: numbers in one example.

    Returns:
        A trunk from [B, inputs] to [B, widths[-1]].
    """
    layers: list[nn.Module] = []
    for wide, next_wide in zip([inputs, *widths], widths, strict=False):
        layers += [nn.Linear(wide, next_wide, dtype=torch.float64), nn.Tanh()]
    return nn.Sequential(*layers)


def small_cnn(
    image: Sequence[int],
    channels: Sequence[int] = (8, 16),
    features: int = 64,
    *,
    dtype: torch.dtype = torch.float64,
) -> nn.Sequential:
    """Build a LeNet-like trunk: 3x3 convolution, ReLU and 2x2 pooling for each width, then linear.

    Args:
        image: shape of one input, (channels, height, width), in pixels.
        channels: channels after each convolution.
        features: numbers in the flat feature vector.
        dtype: floating type of the parameters.

    Returns:
        A trunk from [B, *image] to [B, features].

    Raises:
        ValueError: ``image`` is not (channels, height, width), or too small for that many poolings.

    Source: the layout follows LeCun et al. 1998, doi:10.1109/5.726791, with ReLU and max-pooling.
    """
    if len(image) != 3:
        raise ValueError(f"image must be (channels, height, width); found {tuple(image)}")
    depth, height, width = image
    smallest = 2 ** len(channels)
    if min(height, width) < smallest:
        raise ValueError(
            f"{len(channels)} poolings need images of at least {smallest}x{smallest} pixels; "
            f"found {height}x{width}. Use fewer channels entries or larger images"
        )
    layers: list[nn.Module] = []
    for wide in channels:
        layers += [nn.Conv2d(depth, wide, 3, padding=1, dtype=dtype), nn.ReLU(), nn.MaxPool2d(2)]
        depth, height, width = wide, height // 2, width // 2
    layers += [nn.Flatten(), nn.Linear(depth * height * width, features, dtype=dtype), nn.ReLU()]
    return nn.Sequential(*layers)


def feature_count(trunk: nn.Module) -> int:
    """Give the number of flat features of a trunk: the outputs of its last linear layer.

    Raises:
        ValueError: the trunk holds no linear layer.
    """
    linear = [module for module in trunk.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(
            f"cannot read the number of features off a {type(trunk).__name__} without a linear "
            "layer; pass features=..."
        )
    return linear[-1].out_features
