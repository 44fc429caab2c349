"""Many ways of tuning one model, from one evaluation and one cache of boundary states.

Start with :func:`linguamap.sweep.run_variants.run_sweep`.
"""
