"""Matrix-product-state projection heads for PyTorch."""

__version__ = "0.1.0"
