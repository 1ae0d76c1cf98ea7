"""The corpus: secrets and personal data in their surroundings, and texts that must come through.

The repository holds no value that looks like a secret. `secrets.yaml` and `people.yaml` describe
each by a regular expression, from which values are made here, the same at every run.
"""

from __future__ import annotations

import importlib
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import rstr
import yaml
from stdnum import ean, iban, luhn, verhoeff
from stdnum.br import cpf
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.iso7064 import mod_11_10
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.util import clean

_FOLDER = Path(__file__).parent / "corpus"
CORPORA = tuple(_FOLDER / name for name in ("first", "second", "third", "fourth", "fifth", "sixth"))
"""The first, on which the rules were tuned, and more (see blind.yaml)."""
FIRST = _FOLDER / "first"
BLIND = _FOLDER / "blind.yaml"
PLACE = "{secret}"
_ALONE, _NAMED_TOO, _NAMED = 8, 3, 8
"""How many surroundings each secret is put into: of any kind where it is known by itself, and such
as name it."""
_PIECE = 8
"""So many characters of a secret side by side give it away."""

_CHECKS: dict[str, Callable[[str], bool]] = {
    "luhn": luhn.is_valid,
    "iban": lambda value: iban.is_valid(value, check_country=False),
    "nir": nir.is_valid,
    "dni": lambda value: dni.is_valid(value) or nie.is_valid(value),
    "codice-fiscale": codicefiscale.is_valid,
    "steuer-id": mod_11_10.is_valid,
    "pesel": pesel.is_valid,
    "bsn": bsn.is_valid,
    "cpf": cpf.is_valid,
    "verhoeff": verhoeff.is_valid,
    "ean13": ean.is_valid,
}


@dataclass(frozen=True)
class Sample:
    """A text, and what of it must go."""

    kind: str
    """secret or person"""
    family: str
    """The class that the corpus puts it into; the rules have classes of their own."""
    name: str
    where: str
    text: str
    secret: str
    template: str
    """The text, with a placeholder where the secret stands."""

    def leaks(self, result: str) -> bool:
        """Whether enough of the secret is left to be worth something."""
        pieces = (
            [self.secret]
            if len(self.secret) <= _PIECE
            else [self.secret[i : i + _PIECE] for i in range(len(self.secret) - _PIECE + 1)]
        )
        return any(piece in result and piece not in self.template for piece in pieces)


def corpus(name: str, folder: Path = FIRST) -> list[dict[str, Any]]:
    """One of the files."""
    found: list[dict[str, Any]] = yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8"))
    return found


def made(form: str, seed: str, check: str = "", most: int = 5000) -> str:
    """A value of a form, always the same for a seed; its check digits are right.

    `most`: of what may stand again and again, no more than that.
    """
    vars(importlib.import_module("rstr.xeger"))["STAR_PLUS_LIMIT"] = most
    value = rstr.Rstr(random.Random(seed)).xeger(form)
    return _right(check, value) if check else value


def _right(check: str, value: str) -> str:
    """The value with check digits that are right, where any are."""
    valid = _CHECKS[check]
    marks = [index for index, character in enumerate(value) if character.isalnum()]
    places = marks[2:4] if check == "iban" else marks[-2:]
    for tail in (f"{number:02}" for number in range(100)):
        candidate = _put(value, places, tail)
        if valid(clean(candidate, " -./")):
            return candidate
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        candidate = _put(value, places[-1:], letter)
        if valid(clean(candidate, " -./")):
            return candidate
    raise AssertionError(f"no check digits make {value} a valid {check}")


def _put(value: str, places: list[int], characters: str) -> str:
    changed = list(value)
    for place, character in zip(places, characters, strict=True):
        changed[place] = character
    return "".join(changed)


def samples(folder: Path = FIRST) -> Iterator[Sample]:
    """All of them."""
    yield from _secrets(folder)
    yield from _people(folder)


def benign(folder: Path = FIRST) -> list[str]:
    """Texts that must come through unchanged."""
    return [entry["text"] for entry in corpus("benign", folder)]


def _secrets(folder: Path) -> Iterator[Sample]:
    surroundings = corpus("surroundings", folder)
    named = [each for each in surroundings if each["for"] == "named"]
    alone = [each for each in surroundings if each["for"] == "alone"]
    for entry in corpus("secrets", folder):
        chosen = random.Random(entry["name"])
        places = chosen.sample(named, _NAMED)
        if entry["alone"]:
            places = chosen.sample(alone, _ALONE) + places[:_NAMED_TOO]
        for number, place in enumerate(places):
            value = made(entry["form"], f"{entry['name']} {number}")
            if place["fits"] == "token" and re.search(r"[\s\"'`]", value):
                continue
            encode = _ENCODINGS[place["encode"]]
            part = value
            if "part" in entry:
                match = re.search(entry["part"], value)
                assert match, entry["name"]
                part = next(group for group in match.groups() if group)
            text, secret, template = encode(place["text"], value, part)
            yield Sample(
                "secret", entry["class"], entry["name"], place["name"], text, secret, template
            )


def _people(folder: Path) -> Iterator[Sample]:
    for entry in corpus("people", folder):
        for number, template in enumerate(entry["texts"]):
            value = made(entry["form"], f"{entry['name']} {number}", entry.get("check", ""))
            text = template.replace(PLACE, value)
            yield Sample(
                "person", entry["class"], entry["name"], str(number), text, value, template
            )


def _plainly(template: str, value: str, part: str) -> tuple[str, str, str]:
    return template.replace(PLACE, value), part, template


def _in_json(template: str, value: str, part: str) -> tuple[str, str, str]:
    """The whole text, in a JSON string."""
    template, value, part = (
        json.dumps(each, ensure_ascii=False)[1:-1] for each in (template, value, part)
    )
    return _plainly(template, value, part)


def _in_url(template: str, value: str, part: str) -> tuple[str, str, str]:
    """The value, percent-encoded."""
    return _plainly(template, quote(value, safe=""), quote(part, safe=""))


_ENCODINGS = {"none": _plainly, "json": _in_json, "url": _in_url}
