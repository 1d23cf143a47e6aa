"""Compare monthly costs of the teacher in the cloud and the student on a board, at the user's prices."""

from __future__ import annotations

from edgedistill.config.cost import CostConfig
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.report_speed import CostItem, CostSide, ReportDevice, RunningCost
from edgedistill.reporting.devices import is_stand_in, place_of

GIVEN = Provenance(Kind.GIVEN, "the recipe's [cost]")


def running_cost_of(cost: CostConfig, devices: list[ReportDevice]) -> RunningCost | None:
    """Compute the cost of one machine for the teacher and one board for the student, on for equal hours.

    Args:
        cost: the recipe's [cost].
        devices: of the report; measured board power takes precedence over the recipe.

    Returns:
        None without prices. `saving_per_month` and `payback_months` are None when either cost is unknown or there
        is no saving.
    """
    if not cost.prices:
        return None
    teacher, student = _teacher(cost), _student(cost, devices)
    saving = payback = None
    if teacher.per_month is not None and student.per_month is not None:
        saving = teacher.per_month - student.per_month
    if saving is not None and cost.board_price is not None and cost.board_months is not None:
        margin = saving + cost.board_price / cost.board_months
        payback = cost.board_price / margin if margin > 0 else None
    return RunningCost(
        currency=cost.currency,
        hours_per_month=cost.hours_per_month,
        teacher=teacher,
        student=student,
        saving_per_month=saving,
        payback_months=payback,
        sentence=_sentence(cost.currency, saving, teacher, student),
    )


def _teacher(cost: CostConfig) -> CostSide:
    price = cost.cloud_price_per_hour
    if price is None:
        return _side([], ["cost.cloud_price_per_hour"])
    how = f"{price:g} {cost.currency} an hour x {cost.hours_per_month:g} hours"
    return _side([_item("cloud machine", price * cost.hours_per_month, how, GIVEN)], [])


def _student(cost: CostConfig, devices: list[ReportDevice]) -> CostSide:
    items, missing = [], []
    if cost.board_price is None or cost.board_months is None:  # a recipe gives both or neither
        missing.append("cost.board_price")
    else:
        how = f"{cost.board_price:g} {cost.currency} over {cost.board_months:g} months"
        items.append(_item("board", cost.board_price / cost.board_months, how, GIVEN))
    watts, whose = _power(cost, devices)
    if watts is None or cost.power_price_per_kwh is None:
        missing += ["cost.board_power_w"] if watts is None else []
        missing += ["cost.power_price_per_kwh"] if cost.power_price_per_kwh is None else []
    else:
        how = f"{watts:.2f} W x {cost.hours_per_month:g} hours x {cost.power_price_per_kwh:g} {cost.currency} a kWh"
        month = watts / 1e3 * cost.hours_per_month * cost.power_price_per_kwh
        items.append(_item("power", month, how, whose))
    return _side(items, missing)


def _power(cost: CostConfig, devices: list[ReportDevice]) -> tuple[float | None, Provenance]:
    """Return the power of the whole board in watts and its provenance."""
    for device in devices:
        rail = device.power.input_rail
        if rail and not is_stand_in(device):
            power = device.power.input_mw  # an older report lacks it: then rail is one rail
            milliwatt = (device.power.mean_mw or {})[rail] if power is None else power
            return milliwatt / 1e3, Provenance(Kind.MEASURED, f"{rail} of {place_of(device)}")
    return cost.board_power_w, GIVEN


def _item(what: str, per_month: float, how: str, provenance: Provenance) -> CostItem:
    return CostItem(what=what, per_month=per_month, how=how, provenance=provenance)


def _side(items: list[CostItem], missing: list[str]) -> CostSide:
    total = None if missing else sum(item.per_month for item in items)
    return CostSide(per_month=total, items=items, missing=missing)


def _sentence(currency: str | None, saving: float | None, teacher: CostSide, student: CostSide) -> str:
    if saving is None:
        lacking = ", ".join([*teacher.missing, *student.missing])
        return f"Teacher and student cannot be compared: {lacking} not given."
    change = "saves" if saving >= 0 else "costs more by"
    return f"The student on a board {change} {abs(saving):,.2f} {currency} a month."
