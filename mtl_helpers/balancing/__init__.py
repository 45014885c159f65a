"""Ways of balancing tasks: from their losses, or (lesson 04) from their gradients."""

from mtl_helpers.balancing.losses import (
    Balance,
    DynamicWeightAverage,
    EqualWeights,
    Famo,
    FixedWeights,
    GeometricMean,
    GradNorm,
    ImtlL,
    RandomLossWeights,
    SmoothTchebycheff,
    UncertaintyWeights,
    check_weights,
)
from mtl_helpers.balancing.make import make_balance
from mtl_helpers.balancing.per_task import GradientBalance, check_partition

__all__ = [
    "Balance",
    "DynamicWeightAverage",
    "EqualWeights",
    "Famo",
    "FixedWeights",
    "GeometricMean",
    "GradNorm",
    "GradientBalance",
    "ImtlL",
    "RandomLossWeights",
    "SmoothTchebycheff",
    "UncertaintyWeights",
    "check_partition",
    "check_weights",
    "make_balance",
]
