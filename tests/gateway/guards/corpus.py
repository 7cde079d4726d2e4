"""Labelled texts, made from a seed: things as people write them, and what looks like them and is none.

Written against the standards, and apart from the detectors: numbers get their check digits here by forms of the rules
other than those the product uses, so that a mistake in one does not hide in the other.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SURROUNDINGS = (
    "{}", "Here it is: {}.", "Please note {} for our records.", "({})", '"{}"', "Es geht um {}, danke!",
    "Voici {}; merci.", "Aquí está {} gracias", "value={}", "- {}\n- next line", "Ecco: {}\n", "\t{}\t", "<b>{}</b>",
    "Dear team,\nthe thing is {}\nKind regards", "データ: {} です。", "Данные: {}, спасибо",
)  # fmt: skip
WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "haven",
    "isle",
    "jade",
    "kite",
    "lemon",
    "maple",
    "north",
    "ocean",
    "pine",
    "quartz",
    "river",
)
ALNUM = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, and where in it the thing is; `value` is empty where there is none."""

    kind: str
    text: str
    value: str = ""


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def chars(rng: random.Random, count: int, alphabet: str = ALNUM) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def complete(stem: str, is_right: Callable[[str], bool], alphabet: str = string.digits, count: int = 1) -> str | None:
    """Find the check characters by trying: slow, and independent of any formula that computes them."""
    endings = [""]
    for _ in range(count):
        endings = [ending + character for ending in endings for character in alphabet]
    return next((stem + ending for ending in endings if is_right(stem + ending)), None)


def grouped(text: str, sizes: tuple[int, ...], separator: str) -> str:
    parts, position = [], 0
    for size in sizes:
        parts.append(text[position : position + size])
        position += size
    return separator.join(part for part in parts if part)


# Numbers with check digits


def luhn_sum(number: str) -> int:
    doubled = {"0": 0, "1": 2, "2": 4, "3": 6, "4": 8, "5": 1, "6": 3, "7": 5, "8": 7, "9": 9}
    return sum(doubled[d] if (len(number) - i) % 2 == 0 else int(d) for i, d in enumerate(number))


CARDS = (
    ("4", 16), ("4", 13), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("36", 14), ("6011", 16),
    ("65", 16), ("3530", 16), ("62", 16), ("62", 19),
)  # fmt: skip


def make_card(rng: random.Random) -> str:
    prefix, length = rng.choice(CARDS)
    number = complete(prefix + digits(rng, length - len(prefix) - 1), lambda n: luhn_sum(n) % 10 == 0)
    assert number is not None
    if length == 15:
        return grouped(number, (4, 6, 5), rng.choice(("", " ", "-")))
    if length == 14:
        return grouped(number, (4, 6, 4), rng.choice(("", " ", "-")))
    if length == 16:
        return grouped(number, (4, 4, 4, 4), rng.choice(("", " ", "-")))
    return grouped(number, (4, 4, 4, 4, 3), rng.choice(("", " "))) if length == 19 else number


IBANS = {"DE": "n18", "FR": "n10a11n2", "GB": "A4n14", "ES": "n20", "IT": "A1n10a12", "NL": "A4n10", "CH": "n5a12", "PL": "n24", "AT": "n16", "BE": "n12", "SE": "n20", "NO": "n11", "MT": "A4n5a18", "SA": "n2a18"}  # fmt: skip


def make_iban(rng: random.Random) -> str:
    country = rng.choice(list(IBANS))
    form, body = IBANS[country], ""
    while form:
        kind = form[0]
        count = int(
            "".join(character for character in form[1:4] if character.isdigit())[: 2 if form[2:3].isdigit() else 1]
        )
        body += chars(
            rng,
            count,
            {"n": string.digits, "A": string.ascii_uppercase, "a": string.digits + string.ascii_uppercase}[kind],
        )
        form = form[1 + len(str(count)) :]
    for check in range(2, 99):
        number = f"{country}{check:02d}{body}"
        remainder = 0
        for character in body + country + f"{check:02d}":
            for digit in str(int(character, 36)):
                remainder = (remainder * 10 + int(digit)) % 97
        if remainder == 1:
            shown = " ".join(number[i : i + 4] for i in range(0, len(number), 4)) if rng.random() < 0.6 else number
            return shown.lower() if rng.random() < 0.1 else shown
    raise AssertionError("no check digits")


def make_us_ssn(rng: random.Random) -> str:
    area = rng.choice([n for n in range(1, 900) if n != 666])
    return f"{area:03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}"


def make_uk_nino(rng: random.Random) -> str:
    while True:
        prefix = rng.choice("ABCEGHJKLMNOPRSTWXYZ") + rng.choice("ABCEGHJKLMNPRSTWXYZ")
        if prefix not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}:
            parts = [prefix, digits(rng, 2), digits(rng, 2), digits(rng, 2), rng.choice("ABCD")]
            return rng.choice(("", " ")).join(parts)


def iso7064(number: str) -> bool:
    check = 10
    for digit in number[:-1]:
        check = ((check + int(digit)) % 10 or 10) * 2 % 11
    return (check + int(number[-1])) % 10 == 1


def make_de_tax_id(rng: random.Random) -> str:
    while True:
        pool = rng.sample("0123456789", 9)
        stem = [*pool, rng.choice(pool)]
        rng.shuffle(stem)
        if stem[0] != "0":
            number = complete("".join(stem), iso7064)
            if number is not None:
                return grouped(number, (2, 3, 3, 3), rng.choice(("", " ")))


def make_fr_nir(rng: random.Random) -> str:
    department = rng.choice(["75", "69", "2A", "2B", "13"])
    stem = f"{rng.choice('12')}{rng.randint(0, 99):02d}{rng.randint(1, 12):02d}{department}{digits(rng, 6)}"
    number = int(stem.replace("2A", "19").replace("2B", "18"))
    key = next(k for k in range(1, 98) if (number + k) % 97 == 0)
    return grouped(f"{stem}{key:02d}", (1, 2, 2, 2, 3, 3, 2), rng.choice(("", " ")))


DNI = dict(enumerate("TRWAGMYFPDXBNJZSQVHLCKE"))


def make_es_dni(rng: random.Random) -> str:
    if rng.random() < 0.5:
        number = digits(rng, 8)
        return number + rng.choice(("", "-")) + DNI[int(number) % 23]
    first, number = rng.choice("XYZ"), digits(rng, 7)
    separator = rng.choice(("", "-"))
    return f"{first}{separator}{number}{separator}{DNI[int(str('XYZ'.index(first)) + number) % 23]}"


ODD = {"0": 1, "1": 0, "2": 5, "3": 7, "4": 9, "5": 13, "6": 15, "7": 17, "8": 19, "9": 21, "A": 1, "B": 0, "C": 5, "D": 7, "E": 9, "F": 13, "G": 15, "H": 17, "I": 19, "J": 21, "K": 2, "L": 4, "M": 18, "N": 20, "O": 11, "P": 3, "Q": 6, "R": 8, "S": 12, "T": 14, "U": 16, "V": 10, "W": 22, "X": 25, "Y": 24, "Z": 23}  # fmt: skip


def make_it_codice_fiscale(rng: random.Random) -> str:
    letters = string.ascii_uppercase
    stem = (
        chars(rng, 6, letters) + digits(rng, 2) + rng.choice("ABCDEHLMPRST") + f"{rng.randint(1, 31):02d}"
        + rng.choice("ABCDEFGHILM") + digits(rng, 3)
    )  # fmt: skip
    total = sum(ODD[c] if i % 2 == 0 else (int(c) if c.isdigit() else letters.index(c)) for i, c in enumerate(stem))
    return stem + letters[total % 26]


def make_nl_bsn(rng: random.Random) -> str:
    while True:
        stem = str(rng.randint(10_000_000, 99_999_999))
        total = sum(int(d) * w for d, w in zip(stem, range(9, 1, -1), strict=True)) % 11
        if total < 10:
            return grouped(f"{stem}{total}", rng.choice(((9,), (4, 2, 3))), rng.choice((" ", ".")))


def make_se_personnummer(rng: random.Random) -> str:
    stem = f"{rng.randint(0, 99):02d}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{digits(rng, 3)}"
    number = complete(stem, lambda n: luhn_sum(n) % 10 == 0)
    assert number is not None
    return rng.choice(("", "19")) + number[:6] + rng.choice("-+") + number[6:]


def make_pl_pesel(rng: random.Random) -> str:
    stem = f"{rng.randint(0, 99):02d}{rng.choice((0, 20)) + rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{digits(rng, 4)}"
    weights = (9, 7, 3, 1, 9, 7, 3, 1, 9, 7)
    return stem + str(sum(int(d) * w for d, w in zip(stem, weights, strict=True)) % 10)


def make_br_cpf(rng: random.Random) -> str:
    number = digits(rng, 9)
    for _ in range(2):
        total = sum(int(d) * w for d, w in zip(reversed(number), range(2, 12), strict=False)) % 11
        number += str(0 if total < 2 else 11 - total)
    return f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}" if rng.random() < 0.8 else number


def make_ch_ahv(rng: random.Random) -> str:
    number = complete(
        "756" + digits(rng, 9), lambda n: (sum(int(d) for d in n[::2]) + 3 * sum(int(d) for d in n[1::2])) % 10 == 0
    )
    assert number is not None
    return grouped(number, (3, 4, 4, 2), rng.choice((".", "")))


def make_be_rrn(rng: random.Random) -> str:
    year = rng.randint(0, 99)
    stem = f"{year:02d}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{rng.randint(1, 997):03d}"
    key = 97 - int(("2" if rng.random() < 0.4 else "") + stem) % 97
    return f"{stem[:2]}.{stem[2:4]}.{stem[4:6]}-{stem[6:]}.{key:02d}"


def make_cn_resident_id(rng: random.Random) -> str:
    stem = f"11010{rng.randint(1, 9)}{rng.randint(1940, 2010)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{digits(rng, 3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return stem + "10X98765432"[sum(int(d) * w for d, w in zip(stem, weights, strict=True)) % 11]


# Addresses


def make_email(rng: random.Random) -> str:
    local = rng.choice(("{a}.{b}", "{a}", "{a}_{b}{n}", "{a}+{b}", "{A}.{B}", "{a}-{b}", "m.{a}", "info{n}"))
    local = local.format(
        a=rng.choice(WORDS),
        b=rng.choice(WORDS),
        A=rng.choice(WORDS).title(),
        B=rng.choice(WORDS).title(),
        n=rng.randint(1, 999),
    )
    domain = rng.choice(
        (
            "example.com",
            "mail.example.org",
            "firma-{w}.de",
            "{w}.co.uk",
            "bücher.example",
            "x{n}.io",
            "{w}.museum",
            "sub.{w}.example.net",
        )
    )
    return f"{local}@{domain.format(w=rng.choice(WORDS), n=rng.randint(1, 99))}"


def make_phone(rng: random.Random) -> str:
    d = rng.randint
    forms: tuple[Callable[[], str], ...] = (
        lambda: f"+49 {d(30, 999)} {digits(rng, 7)}", lambda: f"+49{d(150, 179)}{digits(rng, 8)}",
        lambda: f"+1 ({d(201, 989)}) {d(200, 999)}-{digits(rng, 4)}", lambda: f"+1-{d(201, 989)}-{d(200, 999)}-{digits(rng, 4)}",
        lambda: f"+33 {d(1, 7)} {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)}",
        lambda: f"+44 20 {digits(rng, 4)} {digits(rng, 4)}", lambda: f"+44 (0)7{digits(rng, 3)} {digits(rng, 6)}",
        lambda: f"+34 6{digits(rng, 2)} {digits(rng, 3)} {digits(rng, 3)}", lambda: f"+39 06 {digits(rng, 8)}",
        lambda: f"+86 1{d(30, 89)} {digits(rng, 4)} {digits(rng, 4)}", lambda: f"+55 11 9{digits(rng, 4)}-{digits(rng, 4)}",
        lambda: f"({d(201, 989)}) {d(200, 999)}-{digits(rng, 4)}", lambda: f"{d(201, 989)}-{d(200, 999)}-{digits(rng, 4)}",
        lambda: f"0{d(30, 899)}/{digits(rng, 6)}", lambda: f"0{d(1, 7)} {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)}",
        lambda: f"(0{d(30, 899)}) {digits(rng, 6)}", lambda: f"Tel. 0{d(300, 899)} {digits(rng, 7)}".removeprefix("Tel. "),
        lambda: f"07{digits(rng, 3)} {digits(rng, 6)}", lambda: f"020 {digits(rng, 4)} {digits(rng, 4)}",
        lambda: f"0049 {d(30, 999)} {digits(rng, 7)}",
    )  # fmt: skip
    return rng.choice(forms)()


def make_ip(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return f"{rng.choice((8, 10, 81, 172, 192, 203))}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    groups = [f"{rng.randint(1, 65535):x}" for _ in range(8)]
    groups[0] = rng.choice(("2001", "2a02", "fe80", "fd00"))
    if rng.random() < 0.5:
        return f"{groups[0]}:{groups[1]}::{groups[2]}:{rng.randint(1, 9999)}"
    return ":".join(groups)


NAMED = {"nl_bsn": ("BSN: {}", "burgerservicenummer {}", "Sofinummer {}")}
"""Kinds that nobody could tell without the word before them."""

MAKERS: dict[str, Callable[[random.Random], str]] = {
    "email": make_email, "phone": make_phone, "iban": make_iban, "card": make_card, "ip": make_ip, "us_ssn": make_us_ssn,
    "uk_nino": make_uk_nino, "de_tax_id": make_de_tax_id, "fr_nir": make_fr_nir, "es_dni": make_es_dni,
    "it_codice_fiscale": make_it_codice_fiscale, "nl_bsn": make_nl_bsn, "se_personnummer": make_se_personnummer,
    "pl_pesel": make_pl_pesel, "br_cpf": make_br_cpf, "ch_ahv": make_ch_ahv, "be_rrn": make_be_rrn,
    "cn_resident_id": make_cn_resident_id,
}  # fmt: skip


def jwt_like(rng: random.Random) -> str:
    return f"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ{chars(rng, 40)}.{chars(rng, 43)}"


def pem(rng: random.Random) -> str:
    lines = "\n".join(chars(rng, 64, ALNUM + "+/") for _ in range(rng.randint(3, 12)))
    kind = rng.choice(("RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


SECRET_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "aws_key": lambda r: r.choice(("AKIA", "ASIA")) + chars(r, 16, string.ascii_uppercase + "234567"),
    "gcp_key": lambda r: "AIza" + chars(r, 35, ALNUM + "_-"),
    "azure_key": lambda r: "AccountKey=" + chars(r, 86, ALNUM + "+/") + "==",
    "github_token": lambda r: r.choice(("ghp_", "gho_", "ghs_")) + chars(r, 36),
    "gitlab_token": lambda r: "glpat-" + chars(r, 20),
    "slack_token": lambda r: f"xoxb-{digits(r, 12)}-{digits(r, 12)}-{chars(r, 24)}",
    "stripe_key": lambda r: r.choice(("sk_live_", "sk_test_", "rk_live_")) + chars(r, 24),
    "openai_key": lambda r: r.choice(("sk-proj-" + chars(r, 48), "sk-" + chars(r, 48))),
    "anthropic_key": lambda r: "sk-ant-api03-" + chars(r, 93, ALNUM + "_-") + "AA",
    "twilio_key": lambda r: r.choice(("SK", "AC")) + chars(r, 32, "0123456789abcdef"),
    "sendgrid_key": lambda r: f"SG.{chars(r, 22)}.{chars(r, 43)}",
    "npm_token": lambda r: "npm_" + chars(r, 36),
    "pypi_token": lambda r: "pypi-AgEIcHlwaS5vcmc" + chars(r, 80),
    "huggingface_token": lambda r: "hf_" + chars(r, 34, string.ascii_letters),
    "telegram_token": lambda r: f"{r.randint(10**8, 10**10 - 1)}:AA{chars(r, 33)}",
    "portico_key": lambda r: "pk_live_" + chars(r, 33),
    "private_key": pem,
    "jwt": jwt_like,
}


# What looks like it


def broken(make: Callable[[random.Random], str], rng: random.Random) -> str:
    """Change one digit of a number with a check digit: every rule here notices that."""
    value = make(rng)
    places = [i for i, character in enumerate(value) if character.isdigit()]
    place = places[-2] if len(places) > 1 else places[0]
    return value[:place] + str((int(value[place]) + rng.randint(1, 8)) % 10) + value[place + 1 :]


def near_miss(rng: random.Random) -> str:
    d = rng.randint
    forms: tuple[Callable[[], str], ...] = (
        lambda: f"{d(2000, 2030)}-{d(1, 12):02d}-{d(1, 28):02d} {d(0, 23):02d}:{d(0, 59):02d}:{d(0, 59):02d}",
        lambda: f"{d(1, 28):02d}.{d(1, 12):02d}.{d(1950, 2030)}", lambda: f"{d(1, 12)}/{d(1, 28)}/{d(1950, 2030)}",
        lambda: f"version {d(0, 20)}.{d(0, 20)}.{d(0, 20)}.{d(0, 99)}", lambda: f"v{d(1, 9)}.{d(0, 20)}.{d(0, 20)}",
        lambda: f"{chars(rng, 8, '0123456789abcdef')}-{chars(rng, 4, '0123456789abcdef')}-4{chars(rng, 3, '0123456789abcdef')}-a{chars(rng, 3, '0123456789abcdef')}-{chars(rng, 12, '0123456789abcdef')}",
        lambda: chars(rng, 40, "0123456789abcdef"), lambda: chars(rng, 64, "0123456789abcdef"),
        lambda: f"order {digits(rng, 10)}", lambda: f"invoice no. {digits(rng, 8)}", lambda: f"ticket #{digits(rng, 7)}",
        lambda: f"tracking number {digits(rng, 12)}", lambda: f"Bestellnummer {digits(rng, 9)}", lambda: f"commande {digits(rng, 10)}",
        lambda: f"ISBN 978-{d(0, 9)}-{digits(rng, 4)}-{digits(rng, 4)}-{d(0, 9)}", lambda: f"{d(1, 999)},{d(100, 999)},{d(100, 999)}.{d(10, 99)}",
        lambda: f"{d(1, 9)}.{digits(rng, 15)}", lambda: ":".join(chars(rng, 2, "0123456789abcdef") for _ in range(6)),
        lambda: f"{d(1, 12)}:{d(10, 59)}", lambda: f"icon@{d(2, 3)}x.png", lambda: f"user@{rng.choice(WORDS)}", lambda: f"@{rng.choice(WORDS)}",
        lambda: f"git@github.com:{rng.choice(WORDS)}/{rng.choice(WORDS)}.git", lambda: f"{rng.choice(WORDS)}@{d(1, 9)}.{d(0, 9)}.{d(0, 9)}",
        lambda: f"std::{rng.choice(WORDS)}::begin", lambda: f"{d(100, 999)} {d(100, 999)} items", lambda: f"page {d(1, 999)} of {d(1, 999)}",
        lambda: f"${d(1, 999)},{d(100, 999)}.{d(10, 99)}", lambda: f"{d(10, 99)}.{digits(rng, 6)}, {d(10, 99)}.{digits(rng, 6)}",
        lambda: f"127.0.0.1:{d(1000, 9999)}", lambda: f"{d(256, 999)}.{d(0, 255)}.{d(0, 255)}.{d(0, 255)}", lambda: f"timestamp {d(1600000000, 1900000000)}",
        lambda: f"000-{d(10, 99)}-{d(1000, 9999)}", lambda: f"666-{d(10, 99)}-{d(1000, 9999)}",
        lambda: f"sk-{rng.choice(WORDS)}", lambda: "AKIA" + chars(rng, 8, string.ascii_uppercase), lambda: f"ghp_{rng.choice(WORDS)}",
        lambda: "-----BEGIN CERTIFICATE-----", lambda: "-----BEGIN PUBLIC KEY-----", lambda: "password: ********", lambda: "password = os.environ['DB_PASSWORD']",
        lambda: f"npm install {rng.choice(WORDS)}", lambda: "the secret is patience", lambda: "eyJhbGci.not.atoken",
    )  # fmt: skip
    return rng.choice(forms)()


CHECKED = (
    "iban", "card", "de_tax_id", "fr_nir", "es_dni", "it_codice_fiscale", "pl_pesel", "br_cpf", "ch_ahv", "cn_resident_id",
)  # fmt: skip


def positives(seed: int, per_kind: int, *, secrets: bool = False) -> Iterator[Sample]:
    """Yield texts with one thing each."""
    rng = random.Random(seed)
    for kind, make in (SECRET_MAKERS if secrets else MAKERS).items():
        for _ in range(per_kind):
            value = make(rng)
            said = rng.choice(NAMED[kind]).format(value) if kind in NAMED else value
            yield Sample(kind, rng.choice(SURROUNDINGS).replace("{}", said), value)


def negatives(seed: int, count: int, per_checked_kind: int) -> Iterator[Sample]:
    """Yield texts with nothing in them, named by the kind that they nearly are."""
    rng = random.Random(seed)
    for _ in range(count):
        yield Sample("none", rng.choice(SURROUNDINGS).replace("{}", near_miss(rng)))
    for kind in CHECKED:
        for _ in range(per_checked_kind):
            yield Sample(kind, rng.choice(SURROUNDINGS).replace("{}", broken(MAKERS[kind], rng)))
