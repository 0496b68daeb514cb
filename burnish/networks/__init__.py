"""Networks: shapes in, shapes out, no training."""

from burnish.networks.action_encoding import ActionEncoding, action_encoding
from burnish.networks.autoencoding import LatentDecoder, LatentEncoder, level_widths, picture_channels
from burnish.networks.conv import ImageDecoder, ImageEncoder, to_bytes, to_signed
from burnish.networks.ensemble import EnsembleMLP
from burnish.networks.mlp import MLP, ConditionalResidualMLP, FourierFeatures
from burnish.networks.recurrent import RSSMCell, categorical_kl, sample_one_hot, straight_through

__all__ = [
    "MLP",
    "ActionEncoding",
    "ConditionalResidualMLP",
    "EnsembleMLP",
    "FourierFeatures",
    "ImageDecoder",
    "ImageEncoder",
    "LatentDecoder",
    "LatentEncoder",
    "RSSMCell",
    "action_encoding",
    "categorical_kl",
    "level_widths",
    "picture_channels",
    "sample_one_hot",
    "straight_through",
    "to_bytes",
    "to_signed",
]
