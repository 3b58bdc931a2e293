"""Expected quality of each model on a prompt: an item-response model over a few latent skills, inferred in numpy."""

from __future__ import annotations

from router.quality.artifact import load_quality_model
from router.quality.model import Placement, QualityModel, Scores

__all__ = ["Placement", "QualityModel", "Scores", "load_quality_model"]
