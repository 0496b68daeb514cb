"""A policy for a robot: as ONNX, as a LeRobot checkpoint, or served over a websocket."""

from burnish.deploy.lerobot import export_lerobot
from burnish.deploy.onnx import export_onnx
from burnish.deploy.outside import handed_out
from burnish.deploy.serve import PolicyServer

__all__ = ["PolicyServer", "export_lerobot", "export_onnx", "handed_out"]
