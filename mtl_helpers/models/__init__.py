"""Ways of sharing parameters between tasks, one file each, and small trunks to share."""

from mtl_helpers.models.backbones import feature_count, mlp, small_cnn
from mtl_helpers.models.hard_sharing import HardSharing

__all__ = ["HardSharing", "feature_count", "mlp", "small_cnn"]
