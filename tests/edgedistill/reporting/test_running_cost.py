"""Cost and saving: the user's prices or nothing, and sums that a person can redo."""

import pytest

from edgedistill.config.recipe import Recipe
from edgedistill.errors import RecipeError
from record_factories import report_of


def priced(recipe: Recipe, **cost) -> Recipe:
    return Recipe.model_validate({**recipe.model_dump(mode="json"), "cost": cost})


PRICES = {
    "currency": "EUR",
    "cloud_price_per_hour": 0.5,
    "board_price": 150,
    "board_months": 30,
    "power_price_per_kwh": 0.3,
    "hours_per_month": 200,
}


def test_without_prices_there_is_no_figure(stages, recipe):
    report = report_of(stages, priced(recipe, board_power_w=10))
    assert report["running_cost"] is None


def test_the_sums(stages, recipe):
    found = report_of(stages, priced(recipe, **PRICES, board_power_w=8))["running_cost"]
    assert found["teacher"]["per_month"] == pytest.approx(100.0)
    assert found["student"]["per_month"] == pytest.approx(5.0 + 0.48)
    assert found["saving_per_month"] == pytest.approx(94.52)
    assert found["payback_months"] == pytest.approx(150 / (100 - 0.48))
    assert found["sentence"] == "The student on a board saves 94.52 EUR a month."
    assert {item["provenance"] for item in found["student"]["items"]} == {"given: the recipe's [cost]"}


def test_a_board_s_own_power_is_believed_before_the_recipe_s(stages, recipe, board):
    stages["deploy"]["hosts"].append(board(stages["deploy"]["hosts"][0]))
    found = report_of(stages, priced(recipe, **PRICES, board_power_w=100))["running_cost"]
    power = found["student"]["items"][1]
    assert power["per_month"] == pytest.approx(6.5e-3 * 200 * 0.3)
    assert power["provenance"].startswith("measured: POM_5V_IN of nano-3")


def test_a_missing_price_is_named_and_nothing_is_summed(stages, recipe):
    half = {"currency": "EUR", "board_price": 150, "board_months": 30}
    found = report_of(stages, priced(recipe, **half))["running_cost"]
    assert found["saving_per_month"] is found["student"]["per_month"] is None
    assert found["teacher"]["missing"] == ["cost.cloud_price_per_hour"]
    assert found["student"]["missing"] == ["cost.board_power_w", "cost.power_price_per_kwh"]


def test_a_board_that_costs_more_never_pays_back(stages, recipe):
    dear = {**PRICES, "cloud_price_per_hour": 0.001, "board_power_w": 8}
    found = report_of(stages, priced(recipe, **dear))["running_cost"]
    assert found["payback_months"] is None
    assert "costs more by 5.28 EUR" in found["sentence"]


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        ({"board_price": 1, "board_months": 2}, "needs cost.currency"),
        ({"currency": "EUR", "board_price": 1}, "go together"),
        ({"currency": "EUR", "cloud_price_per_hour": -1}, "greater than or equal to 0"),
    ],
)
def test_prices_that_cannot_be_added_up_are_refused(cost, said):
    from edgedistill.config.loading import recipe_from_table

    with pytest.raises(RecipeError, match=said):
        recipe_from_table({"data": {"train": "x"}, "cost": cost}, "r.toml")


def test_the_power_of_a_stand_in_is_not_a_board_s(stages, recipe, board):
    """A computer with a meter of its own, without a board and beside one."""
    here = stages["deploy"]["hosts"][0]
    nano = board(here)
    here["bench"]["power"] = {**nano["bench"]["power"]}
    assert here["provenance"].startswith("stand-in")
    power = report_of(stages, priced(recipe, **PRICES, board_power_w=100))["running_cost"]["student"]["items"][1]
    assert (power["per_month"], power["provenance"]) == (pytest.approx(6.0), "given: the recipe's [cost]")
    stages["deploy"]["hosts"].append(nano)
    power = report_of(stages, priced(recipe, **PRICES, board_power_w=100))["running_cost"]["student"]["items"][1]
    assert power["provenance"].startswith("measured: POM_5V_IN of nano-3")


def test_a_student_that_costs_as_much_pays_its_board_back_over_its_life(stages, recipe):
    """By hand: power for 8 W over 200 h at 0.3 is 0.48 a month; a board is 5 a month, or 150 at once."""
    even = {**PRICES, "cloud_price_per_hour": (5 + 0.48) / 200, "board_power_w": 8}
    found = report_of(stages, priced(recipe, **even))["running_cost"]
    assert found["saving_per_month"] == pytest.approx(0, abs=1e-9)
    assert found["payback_months"] == pytest.approx(30)
