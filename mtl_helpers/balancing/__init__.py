"""Ways of balancing tasks: from their losses, or (lesson 04) from their gradients."""

from mtl_helpers.balancing.losses import (
    Balance,
    EqualWeights,
    FixedWeights,
    check_weights,
    make_balance,
)

__all__ = ["Balance", "EqualWeights", "FixedWeights", "check_weights", "make_balance"]
