"""Quantities: amounts such as `500m` and `1Gi`, parsed exactly and written in the API server's canonical form.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([KMGTPE]i)|([numkMGTPE]?)|[eE]([+-]?\d+))")
_STEP = 1024
_NANO = Decimal("1e-9")

WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
"""What the API server says of text that is no quantity."""


def amount(quantity: str | float) -> Decimal:
    """Return a quantity's amount: `500m` is 0.5. Raises ValueError."""
    return _parsed(str(quantity))[0]


def canonical(quantity: str | float) -> str:
    """Return a quantity in the API server's canonical form: `1000m` is `1`, `0.5Gi` is `512Mi`. Raises ValueError."""
    value, form = _parsed(str(quantity))
    if value == 0:
        return "0"
    if form == "binary" and abs(value) >= _STEP:
        return _binary(value)
    value = value.quantize(_NANO, rounding=ROUND_UP) if abs(value) < 1 else value
    digits = value.normalize()
    exponent = int(digits.as_tuple().exponent) // 3 * 3
    exponent = max(exponent, min(_DECIMAL.values()))
    if form == "decimal":
        exponent = min(exponent, max(_DECIMAL.values()))
    mantissa = f"{digits.scaleb(-exponent):f}".partition(".")[0]
    if form == "exponent":
        return f"{mantissa}e{exponent}" if exponent else mantissa
    return f"{mantissa}{_BY_EXPONENT[exponent]}"


def _parsed(text: str) -> tuple[Decimal, str]:
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(WRONG)
    number, binary, suffix, exponent = match.groups()
    if binary:
        return Decimal(number) * _STEP ** _BINARY[binary], "binary"
    if exponent is not None:
        return Decimal(number).scaleb(int(exponent)), "exponent"
    return Decimal(number).scaleb(_DECIMAL[suffix]), "decimal"


def _binary(value: Decimal) -> str:
    number = int(value.to_integral_value(rounding=ROUND_UP))
    power = 0
    while power < len(_BINARY) and number % _STEP == 0:
        number //= _STEP
        power += 1
    suffix = next((name for name, of in _BINARY.items() if of == power), "")
    return f"{number}{suffix}"
