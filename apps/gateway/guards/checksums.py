"""Check digits of numbers that identify people, accounts and cards. Arguments are digits (and letters) without separators."""

from __future__ import annotations

from datetime import date

_IBAN_LENGTHS = {
    "ad": 24, "ae": 23, "al": 28, "at": 20, "az": 28, "ba": 20, "be": 16, "bg": 22, "bh": 22, "bi": 27, "br": 29,
    "by": 28, "ch": 21, "cr": 22, "cy": 28, "cz": 24, "de": 22, "dj": 27, "dk": 18, "do": 28, "ee": 20, "eg": 29,
    "es": 24, "fi": 18, "fk": 18, "fo": 18, "fr": 27, "gb": 22, "ge": 22, "gi": 23, "gl": 18, "gr": 27, "gt": 28,
    "hr": 21, "hu": 28, "ie": 22, "il": 23, "iq": 23, "is": 26, "it": 27, "jo": 30, "kw": 30, "kz": 20, "lb": 28,
    "lc": 32, "li": 21, "lt": 20, "lu": 20, "lv": 21, "ly": 25, "mc": 27, "md": 24, "me": 22, "mk": 19, "mn": 20,
    "mr": 27, "mt": 31, "mu": 30, "ni": 28, "nl": 18, "no": 15, "om": 23, "pk": 24, "pl": 28, "ps": 29, "pt": 25,
    "qa": 29, "ro": 24, "rs": 22, "ru": 33, "sa": 24, "sc": 31, "sd": 18, "se": 24, "si": 19, "sk": 24, "sm": 27,
    "so": 23, "st": 25, "sv": 28, "tl": 23, "tn": 24, "tr": 26, "ua": 29, "va": 22, "vg": 24, "xk": 20,
}  # fmt: skip
"""SWIFT's IBAN registry: characters of an account number, by country."""
_ITALIAN_ODD = dict(
    zip(
        "0123456789abcdefghijklmnopqrstuvwxyz",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10,
         22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def iban_length(country: str) -> int:
    """Return how many characters an IBAN of a country has; 0 where there is none."""
    return _IBAN_LENGTHS.get(country, 0)


def is_iban(text: str) -> bool:
    """Check ISO 13616 in lower case: the length of the country and 1 modulo 97."""
    if len(text) != iban_length(text[:2]):
        return False
    moved = text[4:] + text[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def is_luhn(digits: str) -> bool:
    """Check ISO/IEC 7812-1 (the Luhn formula)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card(digits: str) -> bool:
    """Check the prefix and length of a card brand and the Luhn formula."""
    return _is_brand(digits) and is_luhn(digits)


def _is_brand(digits: str) -> bool:
    length = len(digits)
    two, three, four = int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        return length in {13, 16, 19}
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if two in {34, 37}:
        return length == 15
    if 300 <= three <= 305 or three == 309 or two in {36, 38, 39}:
        return length in {14, 16, 19}
    if 3528 <= four <= 3589 or four == 6011 or 644 <= three <= 649 or two in {62, 65, 81}:
        return 16 <= length <= 19
    # Maestro takes every length from 12 on; shorter than 16 it cannot be told from other numbers.
    return (two in {50, 56, 57, 58} or digits[0] == "6") and 16 <= length <= 19


def is_us_ssn(digits: str) -> bool:
    """Check the areas, groups and serials that were never given out (SSA, since 2011)."""
    return digits[:3] not in {"000", "666"} and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def is_uk_nino(text: str) -> bool:
    """Check the prefixes that are not used (HMRC NIM39110)."""
    return text[:2] not in {"bg", "gb", "kn", "nk", "nt", "tn", "zz"}


def is_de_tax_id(digits: str) -> bool:
    """Check ISO 7064 MOD 11,10 and that one of the first ten digits, and one only, occurs twice or three times."""
    counts = sorted((digits[:10].count(digit) for digit in set(digits[:10])), reverse=True)
    if counts[0] not in {2, 3} or (len(counts) > 1 and counts[1] > 1) or "000" in digits[:10]:
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def is_fr_nir(text: str) -> bool:
    """Check the key of a French social security number: 97 less the number modulo 97, Corsica counted as 19 and 18."""
    number = text[:-2].replace("2a", "19").replace("2b", "18")
    return 97 - int(number) % 97 == int(text[-2:])


def is_es_dni(text: str) -> bool:
    """Check the letter of a Spanish DNI or NIE: the number modulo 23."""
    number = text[:-1].replace("x", "0").replace("y", "1").replace("z", "2")
    return "trwagmyfpdxbnjzsqvhlcke"[int(number) % 23] == text[-1]


def is_it_codice_fiscale(text: str) -> bool:
    """Check the last letter of an Italian tax code (D.M. 12 March 1974)."""
    total = 0
    for place, character in enumerate(text[:15]):
        if place % 2 == 0:
            total += _ITALIAN_ODD[character]
        else:
            total += int(character) if character.isdigit() else ord(character) - 97
    return chr(97 + total % 26) == text[15]


def is_nl_bsn(digits: str) -> bool:
    """Check the test of eleven of a Dutch citizen service number."""
    total = sum(weight * int(digit) for weight, digit in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), digits, strict=True))
    return total % 11 == 0 and digits.strip("0") != ""


def is_se_personnummer(digits: str) -> bool:
    """Check the date (days up to 91 for coordination numbers) and the Luhn formula over the last ten digits."""
    short = digits[-10:]
    day = int(short[4:6])
    return _is_date(2000 + int(short[:2]), int(short[2:4]), day - 60 if day > 60 else day) and is_luhn(short)


def is_pl_pesel(digits: str) -> bool:
    """Check the weights and the date, whose month says the century."""
    total = sum(weight * int(digit) for weight, digit in zip((1, 3, 7, 9, 1, 3, 7, 9, 1, 3), digits, strict=False))
    if (10 - total % 10) % 10 != int(digits[10]):
        return False
    month = int(digits[2:4])
    century = {0: 1900, 20: 2000, 40: 2100, 60: 2200, 80: 1800}[month // 20 * 20]
    return _is_date(century + int(digits[:2]), month % 20, int(digits[4:6]))


def is_br_cpf(digits: str) -> bool:
    """Check both digits of a Brazilian taxpayer number; numbers of one digit alone are void."""
    if len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum((length + 1 - place) * int(digit) for place, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return True


def is_ch_ahv(digits: str) -> bool:
    """Check the EAN-13 digit of a Swiss social security number."""
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits[:12]))
    return (10 - total % 10) % 10 == int(digits[12])


def is_be_rrn(digits: str) -> bool:
    """Check the date and 97 less the number modulo 97, with a 2 in front for those born since 2000."""
    month, day, key = int(digits[2:4]) % 20, int(digits[4:6]), int(digits[9:])
    for century, number in ((1900, digits[:9]), (2000, "2" + digits[:9])):
        if 97 - int(number) % 97 == key:
            return _is_date(century + int(digits[:2]), month, day)
    return False


def is_cn_resident_id(text: str) -> bool:
    """Check GB 11643-1999: the date and ISO 7064 MOD 11-2."""
    if not _is_date(int(text[6:10]), int(text[10:12]), int(text[12:14])) or not 1900 <= int(text[6:10]) <= 2100:
        return False
    total = sum(pow(2, 17 - place, 11) * int(digit) for place, digit in enumerate(text[:17]))
    return "10x98765432"[total % 11] == text[17]


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
