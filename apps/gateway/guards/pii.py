"""Personal data with a form of its own: addresses and numbers by which a person is reached, paid or registered.

A number counts where its own check says so, or where the words before it do: a bare row of nine digits is an order
number until it stands behind `BSN`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import ClassVar

from apps.gateway.guards import checksums
from apps.gateway.guards.base import Beginning, Hit, Text
from apps.gateway.guards.names import NAME_BEGINNINGS, find_names
from apps.gateway.guards.phones import DATE, PHONE_SHAPES, is_phone
from apps.gateway.guards.surroundings import follows_id_word, follows_other_number_word, follows_version_word

NATIONAL_IDS = (
    "us_ssn", "uk_nino", "de_tax_id", "fr_nir", "es_dni", "it_codice_fiscale", "nl_bsn", "se_personnummer", "pl_pesel",
    "br_cpf", "ch_ahv", "be_rrn", "cn_resident_id",
)  # fmt: skip
KINDS = ("email", "phone", "iban", "card", "ip", *NATIONAL_IDS, "name")

BEFORE = r"(?<!\w)(?<![0-9][.,])(?<![0-9A-Za-z]-)"
AFTER = r"(?!\w)(?![.,][0-9])(?!-[0-9A-Za-z])"
NEXT = r"[.,/\-]?"
"""What may be followed by another digit, which decides: a stream waits for it."""
_LETTERS = r"A-Za-z0-9À-ɏЀ-ӿ"
EMAIL = (
    rf"(?<![{_LETTERS}._%+\-])[{_LETTERS}_+][{_LETTERS}._%+'\-]{{0,63}}@(?:[{_LETTERS}\-]{{1,63}}\.){{1,5}}"
    r"(?:xn--[a-z0-9\-]{2,40}|[A-Za-zа-я]{2,24})(?![A-Za-z0-9])"
)
IBAN = r"(?<![a-z0-9])[a-z]{2}[0-9]{2}(?:[ \-\u00a0]?[a-z0-9]){11,30}"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = rf"(?<![\w.])(?<!\w-){_OCTET}(?:\.{_OCTET}){{3}}(?!\w)(?!\.[0-9])(?!-[0-9A-Za-z])"
IPV6 = r"(?<![\w:.])[0-9a-f:]{6,39}(?:\.[0-9]{1,3}){0,3}(?![\w:])"
NUMBERS = re.compile(r"[0-9](?:[ .,/()\-\u00a0+]{0,3}[0-9]){6}")
"""Seven digits near each other: without them there is no number of a person."""
LETTERED = re.compile(r"[0-9][ \-]?[a-z](?![a-z])")
"""A digit and a letter that ends the word, which every number with letters has."""
_DOTS = re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_IBAN_DIGITS = re.compile(r"[0-9](?<=[a-z]{2}[0-9])[0-9](?:[ \-\u00a0]?[a-z0-9]){11}")
_COLONS = re.compile(r":[0-9a-f]{0,4}:")

_FILE_SUFFIXES_LISTED = (
    "png jpg jpeg gif svg webp ico bmp pdf js ts jsx tsx mjs css scss html htm py rb go rs java kt php json yaml yml toml "
    "xml md txt log csv zip gz tar mp3 mp4"
)
_FILE_SUFFIXES = frozenset(_FILE_SUFFIXES_LISTED.split())


@dataclass(frozen=True, slots=True)
class Shape:
    """How a kind is written, in lower case, and what has to hold beside that."""

    kind: str
    source: str
    check: Callable[[str], bool]
    needs_word: bool = False
    """Counts only behind a word that names it."""
    is_bare: bool = False
    """Looks like any other number: does not count behind a word that names another one."""
    rank: int = 5


NUMBER_SHAPES = (
    Shape("card", r"[0-9]{4}(?:[ \-][0-9]{4}){3}[ \-][0-9]{3}", checksums.is_card, rank=9),
    Shape("card", r"[0-9]{4}(?:[ \-][0-9]{4}){3}", checksums.is_card, rank=8),
    Shape("card", r"3[47][0-9]{2}[ \-][0-9]{6}[ \-][0-9]{5}", checksums.is_card, rank=8),
    Shape("card", r"3[0689][0-9]{2}[ \-][0-9]{6}[ \-][0-9]{4}", checksums.is_card, rank=8),
    Shape("card", r"[2-6][0-9]{12,18}", checksums.is_card, is_bare=True, rank=7),
    Shape("us_ssn", r"[0-9]{3}-[0-9]{2}-[0-9]{4}", checksums.is_us_ssn, is_bare=True),
    Shape("us_ssn", r"[0-9]{3} [0-9]{2} [0-9]{4}", checksums.is_us_ssn, needs_word=True),
    Shape("us_ssn", r"[0-9]{9}", checksums.is_us_ssn, needs_word=True),
    Shape("de_tax_id", r"[1-9][0-9](?: ?[0-9]{3}){3}", checksums.is_de_tax_id, is_bare=True),
    Shape("fr_nir", r"[1-478] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", checksums.is_fr_nir, rank=6),
    Shape("es_dni", r"[0-9]{8}[ \-]?[a-z]", checksums.is_es_dni),
    Shape("nl_bsn", r"[0-9]{9}", checksums.is_nl_bsn, needs_word=True),
    Shape("nl_bsn", r"[0-9]{4}[ .][0-9]{2}[ .][0-9]{3}", checksums.is_nl_bsn, needs_word=True),
    Shape("se_personnummer", r"(?:19|20)?[0-9]{6}[\-+][0-9]{4}", checksums.is_se_personnummer, is_bare=True),
    Shape("se_personnummer", r"(?:19|20)[0-9]{10}", checksums.is_se_personnummer, is_bare=True),
    Shape("se_personnummer", r"[0-9]{10}", checksums.is_se_personnummer, needs_word=True),
    Shape("pl_pesel", r"[0-9]{11}", checksums.is_pl_pesel, is_bare=True),
    Shape("br_cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", checksums.is_br_cpf, rank=6),
    Shape("br_cpf", r"[0-9]{9}-?[0-9]{2}", checksums.is_br_cpf, is_bare=True),
    Shape("ch_ahv", r"756[. ]?[0-9]{4}[. ]?[0-9]{4}[. ]?[0-9]{2}", checksums.is_ch_ahv, rank=6),
    Shape("be_rrn", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", checksums.is_be_rrn, rank=6),
    Shape("be_rrn", r"[0-9]{11}", checksums.is_be_rrn, is_bare=True),
    Shape("cn_resident_id", r"[1-9][0-9]{16}[0-9x]", checksums.is_cn_resident_id, rank=8),
)  # fmt: skip
LETTERED_SHAPES = (
    Shape("fr_nir", r"[1-478] ?[0-9]{2} ?[0-9]{2} ?2[ab] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", checksums.is_fr_nir, rank=6),
    Shape("uk_nino", r"[abceghj-prstw-z][abceghj-nprstw-z][ \-]?[0-9]{2}[ \-]?[0-9]{2}[ \-]?[0-9]{2}[ \-]?[a-d]", checksums.is_uk_nino),
    Shape("es_dni", r"[xyz][ \-]?[0-9]{7}[ \-]?[a-z]", checksums.is_es_dni),
    Shape("it_codice_fiscale", r"[a-z]{6}[0-9lmnp-v]{2}[abcdehlmprst][0-9lmnp-v]{2}[a-z][0-9lmnp-v]{3}[a-z]", checksums.is_it_codice_fiscale),
)  # fmt: skip

_SEPARATORS = str.maketrans("", "", " -.+\u00a0")
_EMAIL, _IBAN, _IPV4, _IPV6 = (re.compile(source) for source in (EMAIL, IBAN, IPV4, IPV6))
_STARTS = re.compile(r"[0-9]+")
_NUMBERS = tuple((shape, re.compile(f"{BEFORE}{shape.source}{AFTER}")) for shape in NUMBER_SHAPES)
_LETTERED = tuple((shape, re.compile(f"{BEFORE}{shape.source}{AFTER}")) for shape in LETTERED_SHAPES)
_ANY_NUMBER = re.compile(f"{BEFORE}(?:{'|'.join(shape.source for shape in NUMBER_SHAPES)})")
_PHONES = tuple(re.compile(source) for source in PHONE_SHAPES)


class PiiDetector:
    """Finds personal data."""

    name: ClassVar[str] = "pii"
    kinds: ClassVar[tuple[str, ...]] = KINDS

    def find(self, text: Text, kinds: frozenset[str]) -> Iterable[Hit]:
        """Return what is there of the kinds asked for."""
        hits: list[Hit] = []
        if "email" in kinds and "@" in text.tail:
            hits += _find_emails(text)
        if text.has_digit:
            if "iban" in kinds and _IBAN_DIGITS.search(text.folded, text.begin):
                hits += _find_ibans(text)
            if "ip" in kinds:
                hits += _find_addresses(text)
            hits += _find_shapes(text, kinds, _LETTERED)
            hits += _find_numbers(text, kinds)
        if "name" in kinds:
            hits += [Hit(start, end, "pii", "name", 0.7, 1, anchor) for anchor, start, end in find_names(text)]
        return hits

    def beginnings(self, kinds: frozenset[str]) -> list[Beginning]:
        """Return the patterns of the kinds asked for."""
        found = [
            Beginning(f"{BEFORE}{shape.source}{NEXT}", is_folded=True)
            for shape in (*NUMBER_SHAPES, *LETTERED_SHAPES)
            if shape.kind in kinds
        ]
        if "email" in kinds:
            found.append(Beginning(EMAIL))
        if "iban" in kinds:
            found.append(Beginning(IBAN, is_folded=True))
        if "ip" in kinds:
            found += [Beginning(IPV4 + NEXT), Beginning(IPV6, is_folded=True)]
        if "phone" in kinds:
            found += [Beginning(source + NEXT) for source in PHONE_SHAPES]
        if "name" in kinds:
            found += [Beginning(source) for source in NAME_BEGINNINGS]
        return found


def _find_emails(text: Text) -> Iterator[Hit]:
    raw = text.raw
    for match in _EMAIL.finditer(raw, text.begin):
        suffix = match[0].rpartition(".")[2].lower()
        is_remote = match[0].startswith("git@") and raw[match.end() : match.end() + 1] == ":"
        if suffix not in _FILE_SUFFIXES and not is_remote:
            yield Hit(match.start(), match.end(), "pii", "email", rank=7)


def _find_ibans(text: Text) -> Iterator[Hit]:
    folded = text.folded
    position = text.begin
    while match := _IBAN.search(folded, position):
        position = match.start() + 2
        wanted = checksums.iban_length(folded[match.start() : match.start() + 2])
        end, count = match.start(), 0
        while end < match.end() and count < wanted:
            count += folded[end].isalnum()
            end += 1
        is_whole = end == len(folded) or not folded[end].isalnum()
        if wanted and is_whole and checksums.is_iban(folded[match.start() : end].translate(_SEPARATORS)):
            yield Hit(match.start(), end, "pii", "iban", rank=9)
            position = end


def _find_addresses(text: Text) -> Iterator[Hit]:
    if _DOTS.search(text.raw, text.begin):
        for match in _IPV4.finditer(text.raw, text.begin):
            address = IPv4Address(match[0])
            is_somebody = not (
                address.is_loopback or address.is_unspecified or address == IPv4Address("255.255.255.255")
            )
            if is_somebody and not follows_version_word(text, match.start()):
                yield Hit(match.start(), match.end(), "pii", "ip", rank=6)
    if _COLONS.search(text.folded, text.begin):
        for match in _IPV6.finditer(text.folded, text.begin):
            if _is_ipv6(match[0]):
                yield Hit(match.start(), match.end(), "pii", "ip", rank=6)


def _is_ipv6(found: str) -> bool:
    try:
        address = IPv6Address(found)
    except AddressValueError:
        return False
    return not (address.is_loopback or address.is_unspecified) and any(map(str.isdigit, found))


def _find_shapes(text: Text, kinds: frozenset[str], shapes: tuple[tuple[Shape, re.Pattern[str]], ...]) -> Iterator[Hit]:
    if not LETTERED.search(text.folded, text.begin):
        return
    for shape, pattern in shapes:
        if shape.kind in kinds:
            for match in pattern.finditer(text.folded, text.begin):
                if shape.check(match[0].translate(_SEPARATORS)):
                    yield Hit(match.start(), match.end(), "pii", shape.kind, rank=shape.rank)


def _find_numbers(text: Text, kinds: frozenset[str]) -> Iterator[Hit]:
    folded = text.folded
    shapes = [(shape, pattern) for shape, pattern in _NUMBERS if shape.kind in kinds]
    for region in NUMBERS.finditer(folded, text.begin):
        date = DATE.match(folded, region.start())
        if date is not None and not folded[date.end() : date.end() + 1].isdigit():
            continue
        for run in _STARTS.finditer(folded, *region.span()):
            start = run.start()
            if _ANY_NUMBER.match(folded, start):
                for shape, pattern in shapes:
                    match = pattern.match(folded, start)
                    if match is not None and _counts(shape, match, text):
                        yield Hit(start, match.end(), "pii", shape.kind, rank=shape.rank)
            if "phone" in kinds:
                yield from _find_phones(text, start)


def _counts(shape: Shape, match: re.Match[str], text: Text) -> bool:
    if not shape.check(match[0].translate(_SEPARATORS)):
        return False
    if shape.needs_word:
        return follows_id_word(text, match.start(), shape.kind)
    if shape.is_bare and not follows_id_word(text, match.start(), shape.kind):
        return not follows_other_number_word(text, match.start())
    return True


def _find_phones(text: Text, start: int) -> Iterator[Hit]:
    raw = text.raw
    # The number may begin with a sign before its first digit.
    for first in range(max(start - 2, text.begin), start + 1):
        if first < start and raw[first] not in "+(":
            continue
        for pattern in _PHONES:
            match = pattern.match(raw, first)
            if match is not None and is_phone(match[0], text, first):
                yield Hit(first, match.end(), "pii", "phone", 0.9, rank=2)
                return
