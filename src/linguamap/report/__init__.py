"""The report: one self-contained page, a page of several runs, figures for papers, the terminal's words.

Everything here formats what the files of a run folder hold: nothing is counted, and no model is loaded.
"""
