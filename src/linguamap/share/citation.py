"""How to cite the paper that the method starts from."""

from __future__ import annotations

PAPER = """@inproceedings{tamo2026linguamap,
  title     = {LinguaMap: Which Layers of LLMs Speak Your Language and How to Tune Them?},
  author    = {Tamo, J. Ben and Carlander-Reuterfelt, Daniel and Rubin, Jonathan and Hong, Dezhi and Wang, Mingxian and Poliannikov, Oleg},
  booktitle = {International Conference on Learning Representations},
  year      = {2026},
  note      = {arXiv:2601.20009}
}"""
"""BibTeX; the report's page and CITATION.cff hold the same."""
