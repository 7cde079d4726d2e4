"""What opens something: keys of known vendors, private keys, tokens, passwords in addresses and assignments."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

import orjson
from jwt.utils import base64url_decode

from apps.gateway.guards.base import Beginning, Hit, Text

VENDOR_KEYS: dict[str, tuple[str, ...]] = {
    "aws_key": (r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",),
    "gcp_key": (r"AIza[0-9A-Za-z_\-]{35}", r"GOCSPX-[0-9A-Za-z_\-]{28}", r"ya29\.[0-9A-Za-z_\-]{20,300}"),
    "azure_key": (r"AccountKey=[A-Za-z0-9+/]{86}==", r"[A-Za-z0-9]{3}8Q~[A-Za-z0-9_~.\-]{34}"),
    "github_token": (r"gh[pousr]_[A-Za-z0-9]{36,251}", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    "gitlab_token": (r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-[0-9A-Za-z_\-]{20,64}",),
    "slack_token": (r"xox[abeoprs]-[0-9A-Za-z\-]{10,120}", r"xapp-[0-9]-[0-9A-Za-z\-]{20,150}", r"https://hooks\.slack\.com/services/T[0-9A-Z]{6,12}/B[0-9A-Z]{6,12}/[0-9A-Za-z]{20,32}"),
    "stripe_key": (r"[sr]k_(?:live|test)_[0-9A-Za-z]{16,120}", r"whsec_[0-9A-Za-z+/]{24,64}"),
    "anthropic_key": (r"sk-ant-[0-9A-Za-z_\-]{24,160}",),
    "openai_key": (r"sk-(?:proj|svcacct|admin)-[0-9A-Za-z_\-]{20,220}", r"sk-[0-9A-Za-z]{20,64}"),
    "openrouter_key": (r"sk-or-v1-[0-9a-f]{64}",),
    "portico_key": (r"pk_live_[0-9A-Za-z]{33}",),
    "twilio_key": (r"(?:SK|AC)[0-9a-f]{32}",),
    "sendgrid_key": (r"SG\.[0-9A-Za-z_\-]{22}\.[0-9A-Za-z_\-]{43}",),
    "mailgun_key": (r"key-[0-9a-f]{32}",),
    "npm_token": (r"npm_[0-9A-Za-z]{36}",),
    "pypi_token": (r"pypi-AgE[0-9A-Za-z_\-]{50,240}",),
    "huggingface_token": (r"hf_[A-Za-z]{34}",),
    "digitalocean_token": (r"do[opr]_v1_[0-9a-f]{64}",),
    "shopify_token": (r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",),
    "telegram_token": (r"[0-9]{8,10}:AA[0-9A-Za-z_\-]{33}",),
    "square_token": (r"sq0(?:atp|csp)-[0-9A-Za-z_\-]{22,43}", r"EAAA[0-9A-Za-z_\-]{60}"),
    "databricks_token": (r"dapi[0-9a-f]{32}",),
    "vault_token": (r"hv[sb]\.[0-9A-Za-z_\-]{24,140}",),
    "linear_key": (r"lin_api_[0-9A-Za-z]{40}",),
    "perplexity_key": (r"pplx-[0-9A-Za-z]{40,60}",),
    "groq_key": (r"gsk_[0-9A-Za-z]{48,56}",),
}  # fmt: skip
"""Prefixes and lengths as the vendors publish them for secret scanning."""
KINDS = (*VENDOR_KEYS, "private_key", "jwt", "url_password", "password", "high_entropy")
OPTIONAL_KINDS = frozenset({"high_entropy"})
"""Not looked for unless a policy names them."""

_BEFORE = r"(?<![0-9A-Za-z_\-])"
_AFTER = r"(?![0-9A-Za-z_])"
PRIVATE_KEY = (
    r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----(?:-?[0-9A-Za-z+/=\s\\:,.]){0,7000}"
    r"(?:-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----)?"
)
JWT = rf"{_BEFORE}eyJ[0-9A-Za-z_\-]{{10,2000}}\.eyJ[0-9A-Za-z_\-]{{8,4000}}\.[0-9A-Za-z_\-]{{16,1200}}"
LOGIN = r"(?<![a-z0-9])[a-z][a-z0-9+.\-]{1,20}://[^\s/:@\"'<>]{0,64}:[^\s/@\"'<>]{3,120}@"
ASSIGNMENT = (
    r"(?<![a-z0-9])(?:pass(?:word|wd|wort|phrase)?|pwd|kennwort|mot de passe|contraseña|senha|secret"
    r"|(?:api|access|auth|secret|private)[_\- ]?(?:key|token)|client[_\- ]?secret)[\"']?"
    r"(?:\s{0,3}(?::=|=>|[:=])\s{0,3}|\s(?:is|ist|est|es|é|lautet)[: ]\s{0,2})[\"'`]?([^\s\"'`,;<>]{6,120})"
)
HIGH_ENTROPY = rf"(?<![0-9A-Za-z+/_\-])[0-9A-Za-z+/_\-]{{32,200}}={{0,2}}{_AFTER}"
LOWEST_ENTROPY_BITS = 4.2
"""Per character. Random Base64 of 32 characters has about 4.6, English words joined together less than 4."""

_WORDS_OF_PASSWORDS = (
    "pass", "pwd", "kennwort", "contraseña", "senha", "secret", "key", "token",
)  # fmt: skip
_VENDORS = tuple(
    (kind, re.compile(rf"{_BEFORE}(?:{source}){_AFTER}")) for kind, sources in VENDOR_KEYS.items() for source in sources
)
_ANY_VENDOR = re.compile(
    rf"{_BEFORE}(?:{'|'.join(source for sources in VENDOR_KEYS.values() for source in sources)}){_AFTER}"
)
_ASSIGNED = re.compile(ASSIGNMENT)
_PRIVATE_KEY, _JWT, _LOGIN, _HIGH_ENTROPY = map(re.compile, (PRIVATE_KEY, JWT, LOGIN, HIGH_ENTROPY))
_PLACEHOLDER = re.compile(
    r"(?:x{4,}|\*{3,}|\.{3,}|<|\$\{|\{\{|\$\(|%\(|your|example|change_?me|placeholder|redacted|none$|null$|true$|false$|undefined"
    r"|required|process\.env|os\.environ|getenv|str$|string|self\.|request\.|settings\.|config\.)"
)
_UUID_OR_HASH = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]+|[0-9]+|[A-Z]+|[a-z_\-/]+")


class SecretDetector:
    """Finds secrets."""

    name: ClassVar[str] = "secrets"
    kinds: ClassVar[tuple[str, ...]] = KINDS

    def find(self, text: Text, kinds: frozenset[str]) -> Iterable[Hit]:
        """Return what is there of the kinds asked for."""
        raw = text.raw
        hits: list[Hit] = []
        if _ANY_VENDOR.search(raw, text.begin):
            for kind, pattern in _VENDORS:
                if kind in kinds:
                    hits += [
                        Hit(m.start(), m.end(), self.name, kind, rank=20) for m in pattern.finditer(raw, text.begin)
                    ]
        if "private_key" in kinds and "-----BEGIN" in text.tail:
            hits += [
                Hit(m.start(), m.end(), self.name, "private_key", rank=30)
                for m in _PRIVATE_KEY.finditer(raw, text.begin)
            ]
        if "jwt" in kinds and "eyJ" in text.tail:
            hits += [
                Hit(m.start(), m.end(), self.name, "jwt", rank=21)
                for m in _JWT.finditer(raw, text.begin)
                if _is_jwt(m[0])
            ]
        if "url_password" in kinds and "://" in text.tail:
            hits += _find_url_passwords(text)
        if "password" in kinds:
            hits += _find_passwords(text)
        if "high_entropy" in kinds:
            hits += [
                Hit(m.start(), m.end(), self.name, "high_entropy", 0.6, 10)
                for m in _HIGH_ENTROPY.finditer(raw, text.begin)
                if _is_random(m[0])
            ]
        return hits

    def beginnings(self, kinds: frozenset[str]) -> list[Beginning]:
        """Return the patterns of the kinds asked for."""
        found = [
            Beginning(f"{_BEFORE}(?:{source}){_AFTER}")
            for kind, sources in VENDOR_KEYS.items()
            if kind in kinds
            for source in sources
        ]
        for kind, source, is_folded in (
            ("private_key", PRIVATE_KEY, False),
            ("jwt", JWT, False),
            ("url_password", LOGIN, True),
            ("password", ASSIGNMENT, True),
            ("high_entropy", HIGH_ENTROPY, False),
        ):
            if kind in kinds:
                found.append(Beginning(source, is_folded))
        return found


def _find_url_passwords(text: Text) -> Iterator[Hit]:
    for match in _LOGIN.finditer(text.folded, text.begin):
        # What stands before the colon is a name, and stays.
        start = match.start() + match[0].index(":", match[0].index("://") + 3) + 1
        if not _PLACEHOLDER.match(text.folded, start):
            yield Hit(start, match.end() - 1, "secrets", "url_password", rank=15, anchor=match.start())


def _find_passwords(text: Text) -> Iterator[Hit]:
    folded = text.folded
    if not any(folded.find(word, text.begin) >= 0 for word in _WORDS_OF_PASSWORDS):
        return
    for match in _ASSIGNED.finditer(folded, text.begin):
        start, end = match.span(1)
        value = text.raw[start:end].rstrip(").]}")
        if not _PLACEHOLDER.match(value.lower()) and _looks_chosen(value):
            yield Hit(start, start + len(value), "secrets", "password", 0.8, rank=12, anchor=match.start())


def _looks_chosen(value: str) -> bool:
    """Tell a password from a word of a sentence: it mixes letters with digits or signs."""
    has_letter = any(map(str.isalpha, value))
    has_digit = any(map(str.isdigit, value))
    has_sign = any(not character.isalnum() and character not in "._-/()" for character in value)
    return len(value) >= 6 and (has_digit or has_sign) and (has_letter or has_sign)


def _is_jwt(token: str) -> bool:
    try:
        header = orjson.loads(base64url_decode(token.partition(".")[0]))
    except ValueError:
        return False
    return isinstance(header, dict) and "alg" in header


def _is_random(value: str) -> bool:
    if _UUID_OR_HASH.fullmatch(value):
        return False
    length = len(value)
    counts = (value.count(character) for character in set(value))
    return -sum(count / length * math.log2(count / length) for count in counts) >= LOWEST_ENTROPY_BITS
