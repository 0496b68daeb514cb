"""Networks: shapes in, shapes out, no training."""

from burnish.networks.action_encoding import ActionEncoding, action_encoding
from burnish.networks.ensemble import EnsembleMLP
from burnish.networks.mlp import MLP, ConditionalResidualMLP, FourierFeatures

__all__ = ["MLP", "ActionEncoding", "ConditionalResidualMLP", "EnsembleMLP", "FourierFeatures", "action_encoding"]
