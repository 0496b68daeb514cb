"""Burnish: refine a pretrained robot policy inside a frozen world model, then prove it on a real simulator."""

__version__ = "0.1.0"
