#!/usr/bin/env python3
"""Write the training split of the "sums" starter items from their templates.

    python studies/generate_sums.py           write the files
    python studies/generate_sums.py --check   exit 1 if the files on disk differ

The templates are in starter_sums.toml beside this script. One file is written
per language, mgsm_<lang>.tsv, without header or quoting; its columns are the
question, the result and the worked reasoning. Line i is the same problem in
every language. The same templates and seed always give the same files.
"""

from __future__ import annotations

import argparse
import ast
import operator
import random
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "starter_sums.toml"
TRAIN_DIR = HERE.parent / "src" / "linguamap" / "data" / "starter" / "sums" / "train"
NUMBERS = range(2, 501)  # every number in a problem; no 1, which would need the singular
MAX_DRAWS = 1000


def exact_division(left: int, right: int) -> int:
    """Divide, refusing a remainder."""
    quotient, remainder = divmod(left, right)
    if remainder:
        raise ValueError(f"{left} is not a multiple of {right}")
    return quotient


OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: exact_division,
}


def evaluate(expression: str, values: Mapping[str, int]) -> int:
    """Work out an expression of whole numbers, known names, +, -, * and //."""

    def visit(node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name):
                return values[name]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](visit(left), visit(right))
        raise ValueError(f"not allowed in an expression: {ast.unparse(node)}")

    return visit(ast.parse(expression, mode="eval").body)


def draw_variants(template: Mapping[str, Any], seed: int, count: int) -> list[dict[str, int]]:
    """Draw the values of `count` variants with different results, given as "result"."""
    # Seeding with the template's name keeps the other templates' numbers when one changes.
    rng = random.Random(f"{seed}:{template['id']}")
    variants: list[dict[str, int]] = []
    for _ in range(MAX_DRAWS):
        values = {name: rng.randint(low, high) for name, (low, high) in template["slots"].items()}
        for name, expression in template["derived"].items():
            values[name] = evaluate(expression, values)
        values["result"] = evaluate(template["result"], values)
        if any(value not in NUMBERS for value in values.values()):
            raise ValueError(f"{template['id']}: a number is out of range in {values}")
        if all(values["result"] != earlier["result"] for earlier in variants):
            variants.append(values)
        if len(variants) == count:
            return variants
    raise ValueError(f"{template['id']}: the slots allow fewer than {count} variants")


def render(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each file, by file name."""
    lines: dict[str, list[str]] = {language: [] for language in config["languages"]}
    for template in config["template"]:
        for values in draw_variants(template, config["seed"], config["variants"]):
            for language, written in lines.items():
                question = template[language]["question"].format_map(values)
                reasoning = template[language]["reasoning"].format_map(values)
                written.append(f"{question}\t{values['result']}\t{reasoning}\n")
    return {f"mgsm_{language}.tsv": "".join(written) for language, written in lines.items()}


def main() -> int:
    """Write the files, or compare them with --check."""
    parser = argparse.ArgumentParser(description="Write the sums starter training files.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 on a difference")
    check: bool = parser.parse_args().check
    files = render(tomllib.loads(TEMPLATES.read_text(encoding="utf-8")))
    differing = 0
    for name, text in files.items():
        path, content = TRAIN_DIR / name, text.encode("utf-8")
        if path.is_file() and path.read_bytes() == content:
            continue
        differing += 1
        print(f"{'differs' if check else 'written'}: {name}", file=sys.stderr)
        if not check:
            TRAIN_DIR.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
