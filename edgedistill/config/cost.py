"""The recipe's [cost]: what the user pays. No price is invented; without one there is no figure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from edgedistill.config.base import Positive, Section

NotNegative = Annotated[float, Field(ge=0)]


class CostConfig(Section):
    """Your own prices, for the report's cost and saving; without them it has neither."""

    currency: Annotated[str, Field(min_length=1, max_length=12)] | None = None
    """of all prices, like `EUR`; only shown"""
    cloud_price_per_hour: NotNegative | None = None
    """of the machine that the teacher would run on instead"""
    board_price: NotNegative | None = None
    """of one board with supply, cooling and case"""
    board_months: Positive | None = None
    """over which the board's price is spread"""
    board_power_w: NotNegative | None = None
    """mean power of the board at work; what a board measured of itself is taken before it"""
    power_price_per_kwh: NotNegative | None = None
    """of electricity"""
    hours_per_month: Annotated[float, Field(gt=0, le=744)] = 730.0
    """of operation, for the board and the cloud alike; 730 is always on"""

    @property
    def prices(self) -> dict[str, float]:
        """Those that are given."""
        named = {"cloud_price_per_hour", "board_price", "power_price_per_kwh"}
        return self.model_dump(include=named, exclude_none=True)

    @model_validator(mode="after")
    def _prices_can_be_added_up(self) -> CostConfig:
        if self.prices and self.currency is None:
            raise ValueError(f"cost.{next(iter(self.prices))} needs cost.currency, like 'EUR'")
        if (self.board_price is None) != (self.board_months is None):
            raise ValueError("cost.board_price and cost.board_months go together: the price is spread over the months")
        return self
