"""Variational U-Net (Esser, Sutter, Ommer, CVPR 2018): shape and appearance of pictures, apart."""

__version__ = "0.1.0.dev0"
