"""What an upstream says that a call cost. It is its word: kept in the record, and nobody is allowed anything by it."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

COST_META: Final = "com.gatehouse/cost"
"""In the `_meta` of a result: {"amount": "0.0042", "currency": "USD"}."""
AMOUNT: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
CURRENCY: Final = re.compile(r"[A-Z]{3}")


def cost_facts(result: Mapping[str, Any] | None) -> dict[str, Any]:
    """`cost` for the record, `cost_ignored` where one is told that is none; nothing where none is told."""
    meta = result.get("_meta") if result is not None else None
    if not isinstance(meta, dict) or COST_META not in meta:
        return {}
    told = meta[COST_META]
    amount = _amount(told.get("amount")) if isinstance(told, dict) else ""
    currency = told.get("currency", "") if amount else ""
    if not amount or not isinstance(currency, str) or (currency and not CURRENCY.fullmatch(currency)):
        return {"cost_ignored": True}
    return {"cost": {"amount": amount, **({"currency": currency} if currency else {})}}


def cost_in_words(details: Mapping[str, Any]) -> str:
    cost = details.get("cost")
    if isinstance(cost, dict):
        return f"{cost.get('amount', '')} {cost.get('currency', '')}".strip()
    return "told, but not as a number: ignored" if details.get("cost_ignored") else ""


def _amount(value: Any) -> str:
    """Up to twelve digits before the point and nine behind it; empty for anything else."""
    text = value if isinstance(value, str) else _written(value)
    return text if AMOUNT.fullmatch(text) else ""


def _written(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**12:
        return ""
    return str(value) if isinstance(value, int) else f"{round(Decimal(repr(value)), 9).normalize():f}"
