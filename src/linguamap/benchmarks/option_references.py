"""Options that speak of other options ("all of the above"): their items cannot be shown in another order."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache
from importlib import resources

from linguamap.languages import LANGUAGES

LONGEST = 120
"""Characters; longer options say something of their own."""


def refers_to_options(text: str, language: str) -> bool:
    """Whether an option speaks of others, in its language or in English.

    Nothing of it may be left when the phrases and fillers of ``data/option_references.toml`` and option
    letters are taken out: "both A and B" refers, "vitamins A and B" does not.
    """
    if len(text) > LONGEST:
        return False
    return any(_refers(text, code) for code in dict.fromkeys((language, "en")) if code in _table())


def _refers(text: str, language: str) -> bool:
    phrases, fillers, letters = _table()[language]
    joined = bool(re.search(r"[,&/+،、]", text))
    rest, n_phrases = phrases.subn(" ", _plain(text))
    rest, n_fillers = fillers.subn(" ", rest)
    words = rest.replace("&", " ").split()
    if not all(word in letters for word in words):
        return False
    return n_phrases > 0 or (len(words) > 1 and (n_fillers > 0 or joined))


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())
    kept = (
        c if c.isalnum() or unicodedata.category(c)[0] == "M" or c == "&" else " " for c in folded
    )
    return f" {' '.join(''.join(kept).split())} "


@cache
def _table() -> dict[str, tuple[re.Pattern[str], re.Pattern[str], frozenset[str]]]:
    """Language -> phrases, fillers, letters."""
    source = resources.files("linguamap") / "data" / "option_references.toml"
    table = {}
    for code, row in tomllib.loads(source.read_text(encoding="utf-8")).items():
        own = {_plain(sign).strip() for signs in LANGUAGES[code].option_letters for sign in signs}
        bounded = LANGUAGES[code].segmented and code != "ko"  # particles are glued to letters
        letters = frozenset({*"abcdefgh", *own})
        table[code] = (_any_of(row["phrases"], bounded), _any_of(row["fillers"], bounded), letters)
    return table


def _any_of(texts: list[str], bounded: bool) -> re.Pattern[str]:
    """The longest first; where words are written apart, whole words only."""
    ordered = sorted({_plain(text).strip() for text in texts}, key=len, reverse=True)
    pattern = "|".join(re.escape(text).replace(r"\ ", r"\s*") for text in ordered)
    return re.compile(rf"(?<!\S)(?:{pattern})(?!\S)" if bounded else f"(?:{pattern})")
