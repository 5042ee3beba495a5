"""Limits of a capital profile."""

from __future__ import annotations

from typing import Annotated

import msgspec

from golive_redis.records.record import DecimalString, Strict


class Limits(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a capital profile allows; amounts are decimal strings in `currency`."""

    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{2,12}\Z")]
    max_order_notional: DecimalString
    max_position_notional: DecimalString
    max_daily_loss: DecimalString
    max_orders_per_minute: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    extra: Annotated[
        dict[
            Annotated[str, msgspec.Meta(max_length=64)],
            Annotated[str, msgspec.Meta(max_length=128)],
        ],
        msgspec.Meta(max_length=16),
    ] = {}

    def met(self, other: Limits) -> Limits:
        """Return these limits, each lowered to the other's where that is smaller.

        A number of `extra` counts as a limit, text that is none stays as it is here, and what only
        the other has is added.

        Fails closed: amounts in another currency cannot be compared, so nothing is left of them.
        """
        # Only where somebody demotes: `golive revoke` loads these types and waits for no decimals.
        from golive_redis.records.amount import smaller  # noqa: PLC0415

        def lower(name: str) -> str:
            if self.currency != other.currency:
                return "0"
            return smaller(getattr(self, name), getattr(other, name))

        extra = {
            name: smaller(self.extra.get(name, text), text) for name, text in other.extra.items()
        }
        return Limits(
            currency=self.currency,
            max_order_notional=lower("max_order_notional"),
            max_position_notional=lower("max_position_notional"),
            max_daily_loss=lower("max_daily_loss"),
            max_orders_per_minute=min(self.max_orders_per_minute, other.max_orders_per_minute),
            extra={**self.extra, **extra},
        )
