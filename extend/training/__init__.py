"""Training: one loop, its objective, batches, optimiser and saved state."""

from extend.training.backbone_training import TrainedBackbone, check_training, train_backbone
from extend.training.batches import Draws
from extend.training.from_scratch import Phase, Recipe, train
from extend.training.importance import measure_fisher
from extend.training.objective import Anchors
from extend.training.settings import Training

__all__ = [
    "Anchors",
    "Draws",
    "Phase",
    "Recipe",
    "TrainedBackbone",
    "Training",
    "check_training",
    "measure_fisher",
    "train",
    "train_backbone",
]
