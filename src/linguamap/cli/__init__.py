"""The command line: ``main`` is the command ``linguamap``. The only package that prints."""

from linguamap.cli.app import main

__all__ = ["main"]
