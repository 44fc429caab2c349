"""Selective tuning: training only the chosen blocks, with everything below them run once.

Start with :func:`linguamap.tuning.run_tuning.tune`; ``data`` makes its examples, ``training`` trains on
them. A tuned model is a base and :func:`linguamap.tuning.delta.apply_delta`.
"""
