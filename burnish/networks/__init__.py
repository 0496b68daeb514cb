"""Networks: shapes in, shapes out, no training."""

from burnish.networks.action_adapting import ActionAdapter, AdapterConfig, action_adapter
from burnish.networks.action_encoding import ActionEncoding, action_encoding
from burnish.networks.action_modules import ActionBlock, ActionModulesConfig, follow_actions
from burnish.networks.attention import CrossAttention, SetDecoder, SetEncoder
from burnish.networks.autoencoding import LatentDecoder, LatentEncoder, level_widths, picture_channels
from burnish.networks.causal import CausalResidualMLP
from burnish.networks.conditioning import ContextEmbedding, StepCondition
from burnish.networks.differences import BodyDifferences
from burnish.networks.dit import DIT_PRESETS, DiT, DiTConfig
from burnish.networks.edm import denoising_error, preconditioning
from burnish.networks.ensemble import EnsembleMLP, GaussianEnsemble
from burnish.networks.frame_change import FrameChange
from burnish.networks.frame_dit import FrameDiT, FrameDiTConfig
from burnish.networks.gaussians import NUMBERS, Gaussians, activated, chamfer
from burnish.networks.gru import GRUTrunks
from burnish.networks.instructed import InstructedConfig, InstructedTransformer
from burnish.networks.interactive import Denoised, InteractiveDiT, InteractiveDiTConfig, straight_levels
from burnish.networks.mlp import MLP, ConditionalResidualMLP, FourierFeatures
from burnish.networks.pictures import PictureEncoder, PictureNetwork, group_norm, picture_shape, random_shift
from burnish.networks.recurrent import (
    LatentCell,
    RSSMCell,
    S5Cell,
    Unrolled,
    categorical_kl,
    sample_one_hot,
    straight_through,
)
from burnish.networks.resnet import ResNet, load_torchvision, resnet
from burnish.networks.s5 import S5, S5Config
from burnish.networks.simnorm import SimNorm
from burnish.networks.splatting import Picture, View, render
from burnish.networks.swap import swap
from burnish.networks.token_dit import TokenDiT, TokenDiTConfig
from burnish.networks.trajectory import TrajectoryNetwork, TrajectoryNetworkConfig
from burnish.networks.two_hot import SymlogTwoHot, symexp
from burnish.networks.two_stream import TwoStreamNetwork
from burnish.networks.unet import UNET_PRESETS, UNet, UNetConfig

__all__ = [
    "DIT_PRESETS",
    "MLP",
    "NUMBERS",
    "S5",
    "UNET_PRESETS",
    "ActionAdapter",
    "ActionBlock",
    "ActionEncoding",
    "ActionModulesConfig",
    "AdapterConfig",
    "BodyDifferences",
    "CausalResidualMLP",
    "ConditionalResidualMLP",
    "ContextEmbedding",
    "CrossAttention",
    "Denoised",
    "DiT",
    "DiTConfig",
    "EnsembleMLP",
    "FourierFeatures",
    "FrameChange",
    "FrameDiT",
    "FrameDiTConfig",
    "GRUTrunks",
    "GaussianEnsemble",
    "Gaussians",
    "InstructedConfig",
    "InstructedTransformer",
    "InteractiveDiT",
    "InteractiveDiTConfig",
    "LatentCell",
    "LatentDecoder",
    "LatentEncoder",
    "Picture",
    "PictureEncoder",
    "PictureNetwork",
    "RSSMCell",
    "ResNet",
    "S5Cell",
    "S5Config",
    "SetDecoder",
    "SetEncoder",
    "SimNorm",
    "StepCondition",
    "SymlogTwoHot",
    "TokenDiT",
    "TokenDiTConfig",
    "TrajectoryNetwork",
    "TrajectoryNetworkConfig",
    "TwoStreamNetwork",
    "UNet",
    "UNetConfig",
    "Unrolled",
    "View",
    "action_adapter",
    "action_encoding",
    "activated",
    "categorical_kl",
    "chamfer",
    "denoising_error",
    "follow_actions",
    "group_norm",
    "level_widths",
    "load_torchvision",
    "picture_channels",
    "picture_shape",
    "preconditioning",
    "random_shift",
    "render",
    "resnet",
    "sample_one_hot",
    "straight_levels",
    "straight_through",
    "swap",
    "symexp",
]
