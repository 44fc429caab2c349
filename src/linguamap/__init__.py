"""linguamap: in which layers a language model decides its output language, and tuning only those."""

__version__ = "0.1.0"
