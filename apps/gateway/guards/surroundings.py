"""Which word stands before a number: it says what the number is where the digits do not."""

from __future__ import annotations

import re

from apps.gateway.guards.base import Text

REACH = 42
"""Characters before a number in which its word is looked for; no more than streams keep (CONTEXT_CHARACTERS)."""

_PHONE = (
    r"tel(?:e?f|[eé]|\.|:|\s|$)\w*|phone\w*|mobile?\w*|cell\w*|handy\w*|call(?:s|ed|ing)?\b|fax\w*|whats?app|sms\b|text me"
    r"|ring\b|reach (?:me|us|him|her)|ruf\w*|anruf\w*|erreich\w*|durchwahl|m[oó]vil\w*|celular\w*|portable|appele\w*"
    r"|joindre|ll[aá]m\w*|cellulare|chiama\w*|bel(?:len)?\b|gsm\b|liga(?:r|me)?\b|dzwo[nń]\w*|numer telefonu|контакт\w*"
    r"|телефон\w*|звони\w*|電話|电话|hotline|contact (?:number|me)"
)
_OTHER = (
    r"order\w*|invoice\w*|ticket\w*|track\w*|ref\b|ref\.|reference\w*|serial\w*|sku\b|part\b|item\w*|batch\w*|case\b|case no"
    r"|bestell\w*|auftrag\w*|rechnung\w*|sendung\w*|aktenzeichen|kunden(?:nummer|nr)\w*|artikel\w*|commande\w*|facture\w*"
    r"|pedido\w*|factura\w*|ordine\w*|fattura\w*|isbn\w*|issn\w*|ean\b|build\w*|commit\w*|version\w*|timestamp\w*|epoch\w*"
    r"|shipment\w*|parcel\w*|receipt\w*|transaction\w*|product\w*|model\b|checksum\w*|hash\w*|id\b|uuid\w*|lot\b|zam[oó]wieni\w*"
)
_NUMBER_WORD = re.compile(rf"(?<!\w)(?:({_PHONE})|({_OTHER}))")
_VERSION_WORD = re.compile(
    r"(?<!\w)(?:v|ver\.?|version|versión|versione|release|build|firmware|rev|kernel|upgrade to)[\s:=]{0,2}$"
)
_ID_WORDS = {
    "us_ssn": r"ssn|social security|social sec|soc\.? sec|tax(?:payer)? id|itin",
    "nl_bsn": r"bsn|burgerservice\w*|sofi\w*|citizen service",
    "se_personnummer": r"person(?:al)?\s?(?:nummer|number|nr)|personnummer|samordningsnummer|swedish id",
    "pl_pesel": r"pesel",
    "de_tax_id": r"steuer\w*|tax id|idnr|steuer-id|tin\b",
    "br_cpf": r"cpf|cadastro",
    "be_rrn": r"rijksregister\w*|registre national|national number|rrn|insz|niss|belgian",
    "card": r"card\w*|karte\w*|kreditkarte\w*|carte|tarjeta|carta|visa|mastercard|amex|kort\w*|cartão",
}
_ID_PATTERNS = {kind: re.compile(rf"(?<!\w)(?:{source})") for kind, source in _ID_WORDS.items()}


def before(text: Text, position: int) -> str:
    """Return the words before a position, in lower case."""
    return text.folded[max(0, position - REACH) : position]


def follows_id_word(text: Text, position: int, kind: str) -> bool:
    """Tell whether a word before it names the number as one of this kind."""
    pattern = _ID_PATTERNS.get(kind)
    return pattern is not None and pattern.search(before(text, position)) is not None


def follows_phone_word(text: Text, position: int) -> bool:
    """Tell whether the last word that names a number says that it is one to call."""
    last = _last_number_word(text, position)
    return last is not None and last[1] is not None


def follows_other_number_word(text: Text, position: int) -> bool:
    """Tell whether the last word that names a number says that it is an order, a version or the like."""
    last = _last_number_word(text, position)
    return last is not None and last[2] is not None


def follows_version_word(text: Text, position: int) -> bool:
    """Tell whether the word right before it says that four numbers with dots are a version."""
    return _VERSION_WORD.search(before(text, position)) is not None


def _last_number_word(text: Text, position: int) -> re.Match[str] | None:
    last = None
    for match in _NUMBER_WORD.finditer(before(text, position)):
        last = match
    return last
