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
