"""Money: integer micro-units with a currency in storage, Decimal in code.

One micro-unit is a millionth of the currency's unit: 1 USD = 1_000_000.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

MICROS = 1_000_000
DEFAULT_CURRENCY = "USD"


def to_micros(amount: Decimal | str | int) -> int:
    """Return an amount in the currency's unit as micro-units, rounded half to even."""
    return int((Decimal(amount) * MICROS).to_integral_value(rounding=ROUND_HALF_EVEN))


def from_micros(micros: int) -> Decimal:
    """Return micro-units as an exact Decimal in the currency's unit, with six places."""
    return (Decimal(micros) / MICROS).quantize(Decimal("0.000001"))


def show_money(micros: int, currency: str = DEFAULT_CURRENCY) -> str:
    """Return an amount exactly, with two places or as many as it needs."""
    whole, _, places = f"{abs(from_micros(micros)):,f}".partition(".")
    sign = "−" if micros < 0 else ""
    amount = f"{whole}.{places.rstrip('0').ljust(2, '0')}"
    return f"{sign}${amount}" if currency == DEFAULT_CURRENCY else f"{sign}{amount} {currency}"
