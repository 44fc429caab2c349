"""linguamap: which language a language model answers in, in which layers, and training a few of them."""

__version__ = "0.1.0"
