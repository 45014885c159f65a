"""Ways of sharing parameters between tasks, one file each, and trunks to share."""

from mtl_helpers.models.adapters import FiLM, SoftSharing
from mtl_helpers.models.backbones import feature_count, mlp, small_cnn, tanh_trunk
from mtl_helpers.models.base import MultiTaskModel
from mtl_helpers.models.cross_stitch import CrossStitch
from mtl_helpers.models.dropout import mc_dropout
from mtl_helpers.models.experts import CGC, PLE, MMoE
from mtl_helpers.models.hard_sharing import HardSharing
from mtl_helpers.models.mtan import MTAN
from mtl_helpers.models.multi_input import MultiInput
from mtl_helpers.models.norms import (
    TaskBatchNorm,
    freeze_statistics,
    per_task_batch_norm,
    use_task,
)
from mtl_helpers.models.pretrained import torchvision_trunk
from mtl_helpers.models.size import Size, size_report

__all__ = [
    "CGC",
    "MTAN",
    "PLE",
    "CrossStitch",
    "FiLM",
    "HardSharing",
    "MMoE",
    "MultiInput",
    "MultiTaskModel",
    "Size",
    "SoftSharing",
    "TaskBatchNorm",
    "feature_count",
    "freeze_statistics",
    "mc_dropout",
    "mlp",
    "per_task_batch_norm",
    "size_report",
    "small_cnn",
    "tanh_trunk",
    "torchvision_trunk",
    "use_task",
]
