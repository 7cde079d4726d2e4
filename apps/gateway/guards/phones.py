"""Telephone numbers: international ones by their plus sign, national ones by how they are written or by a word before them."""

from __future__ import annotations

import re

from apps.gateway.guards.base import Text
from apps.gateway.guards.surroundings import follows_other_number_word, follows_phone_word

_END = r"(?!\w)(?![.,/\-][0-9])"
_START = r"(?<![\w+])(?<![0-9][.,/])(?<![0-9A-Za-z]-)"
INTERNATIONAL = rf"{_START}(?<![0-9] )\+[1-9](?:[ .\-/()\u00a0]{{0,3}}[0-9]){{6,14}}{_END}"
NATIONAL = rf"{_START}(?<![0-9] )\(?[0-9](?:[ .\-/()\u00a0]{{0,3}}[0-9]){{6,14}}{_END}"
PHONE_SHAPES = (INTERNATIONAL, NATIONAL)

_COUNTRY_CODES_LISTED = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 "
    "92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 "
    "240 241 242 243 244 245 246 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 290 "
    "291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380 381 382 383 385 386 "
    "387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 599 670 672 673 674 "
    "675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 853 855 856 870 878 880 881 882 "
    "883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979 992 993 994 995 996 998"
)
_COUNTRY_CODES = frozenset(_COUNTRY_CODES_LISTED.split())
_DISTINCT = re.compile(
    r"\((?:0?[1-9][0-9]{1,4})\)[ \-]?[0-9][0-9 \-]{4,11}"  # (030) 123456, (212) 555-0199
    r"|0[1-9][0-9]{1,4} ?/ ?[0-9][0-9 \-]{4,10}"  # 030/123456
    r"|(?:1[ .\-])?[2-9][0-9]{2}([.\-])[2-9][0-9]{2}\1[0-9]{4}"  # 212-555-0199
    r"|0[1-9](?:[ .][0-9]{2}){4}"  # 06 12 34 56 78
    r"|0[1-9][0-9]{2,4}[ \-][0-9]{3,4}[ \-]?[0-9]{3,4}"  # 07700 900123, 0151-2345678
    r"|0[1-9][0-9] [0-9]{4} [0-9]{4}"  # 020 7946 0018
    r"|00[1-9][0-9]{0,2}[ \-/][0-9() \-/]{6,16}"  # 0049 30 123456
)
DATE = re.compile(
    r"(?:19|20)[0-9]{2}[.\-/ ][01]?[0-9][.\-/ ][0-3]?[0-9]|[0-3]?[0-9][./\-][01]?[0-9][./\-](?:19|20)[0-9]{2}"
)


def is_phone(found: str, text: Text, start: int) -> bool:
    """Tell whether a row of digits with separators is a number to call."""
    digits = "".join(character for character in found if character.isdigit())
    if found[0] == "+":
        return len(digits) <= 15 and any(digits[:length] in _COUNTRY_CODES for length in (1, 2, 3))
    if len(set(digits)) < 3 or DATE.match(found) is not None:
        return False
    if follows_phone_word(text, start):
        return True
    return _DISTINCT.fullmatch(found) is not None and not follows_other_number_word(text, start)
