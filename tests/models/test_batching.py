"""Batches by length and padding, by hand."""

from __future__ import annotations

from linguamap.models.batching import batches_by_length, left_padded, right_padded


def test_batches_by_length_stay_within_their_tokens() -> None:
    batches = batches_by_length([5, 9, 2, 9, 30, 1], max_tokens=20)
    assert batches == [[4], [1, 3], [0, 2, 5]]


def test_rows_and_an_order_bound_batches_too() -> None:
    assert batches_by_length([4, 4, 4, 4], 100, max_rows=3) == [[0, 1, 2], [3]]
    # In this order the longest row comes last: 2 x 9 is above 16, 1 x 9 is not.
    assert batches_by_length([2, 9, 3], 16, order=[2, 0, 1]) == [[2, 0], [1]]
    assert batches_by_length([], 16) == []


def test_padding_stands_on_the_side_that_it_is_named_after() -> None:
    ids, mask = right_padded([[5, 6, 7], [8]], 0)
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    ids, mask = left_padded([[5, 6, 7], [8]], 9)
    assert ids.tolist() == [[5, 6, 7], [9, 9, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_tokens_in_a_cache_have_columns_of_the_mask_before_the_new_ones() -> None:
    ids, mask = left_padded([[5, 6], [7, 8]], 0, before=[1, 3])
    assert ids.tolist() == [[5, 6], [7, 8]]
    assert mask.tolist() == [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]
