"""Handing freed memory back keeps the progress as it is."""

from __future__ import annotations

import pytest

from linguamap.run import memory as heap


def test_progress_passes_through_and_memory_is_handed_back_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, int, int, str]] = []
    trims: list[int] = []
    clock = [0.0]

    def trim(keep: int) -> int:
        trims.append(keep)
        return 1

    monkeypatch.setattr(heap, "_find_trim", lambda: trim)
    monkeypatch.setattr(heap.time, "monotonic", lambda: clock[0])
    report = heap.trimming(lambda *what: seen.append(what))
    for step in range(4):
        clock[0] = step * heap.EVERY_SECONDS * 0.75
        report("tune", step, 4, "x")
    assert [done for _, done, _, _ in seen] == [0, 1, 2, 3]
    assert trims == [0]


def test_without_the_library_nothing_is_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.sys, "platform", "darwin")
    assert heap._find_trim() is None
