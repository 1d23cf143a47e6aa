"""A fleet in one TOML file: settings of all boards, of a group, of one board.

[rollout]                   canary boards first, then waves; see Rollout
[defaults]                  target, root, python of all
[groups.hall-a]             the same keys, for its boards
[boards.nano-01]            group, host, canary, and the same keys
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from edgedistill.config.base import Host, PlainPath, Section
from edgedistill.errors import InventoryError

BoardName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]


class Rollout(Section):
    """How a release goes through the fleet."""

    wave: Annotated[int, Field(ge=1)] = 8
    """boards between two looks at the failures, after the canaries"""
    parallel: Annotated[int, Field(ge=1, le=64)] = 8
    """boards at work at once"""
    max_failures: Annotated[int, Field(ge=0)] = 0
    """failed boards that do not stop the roll-out; a failed canary always does"""


class Settings(Section):
    """Settings that a board inherits from its group, and a group from the defaults."""

    target: str | None = None
    root: PlainPath | None = None
    python: PlainPath | None = None


class BoardSettings(Settings):
    """One board; `host` is its name when absent."""

    group: BoardName | None = None
    host: Host | None = None
    canary: bool = False


class Inventory(Section):
    """The file."""

    rollout: Rollout = Rollout()
    defaults: Settings = Settings()
    groups: dict[BoardName, Settings] = {}
    boards: dict[BoardName, BoardSettings]


@dataclass(frozen=True)
class FleetBoard:
    """One board with everything that it inherits."""

    name: str
    group: str | None
    host: str
    target: str
    root: str
    python: str
    canary: bool


@dataclass(frozen=True)
class Fleet:
    """Boards in the order of a roll-out: canaries, then the others as the file has them."""

    name: str
    boards: tuple[FleetBoard, ...]
    rollout: Rollout


def load_fleet(path: Path, group: str | None = None) -> Fleet:
    """
    Args:
        group: only the boards of this one.

    Raises:
        InventoryError: unreadable, an unknown key or group, a board without a target; a line each.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        inventory = Inventory.model_validate(table)
    except ValidationError as error:
        lines = [_fault_line(fault) for fault in error.errors(include_url=False)]
        raise InventoryError("\n".join(f"{path}: {line}" for line in lines)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InventoryError(f"{path}: not a readable TOML file: {error}") from None
    for name, board in inventory.boards.items():
        if name.lower() == "fleet":
            raise InventoryError(f"{path}: boards.{name}: the roll-out's own report has that name; choose another")
        if board.group is not None and board.group not in inventory.groups:
            raise InventoryError(
                f"{path}: boards.{name}: there is no [groups.{board.group}]; "
                f"there are: {', '.join(inventory.groups) or 'none'}"
            )
    if group is not None and group not in inventory.groups:
        raise InventoryError(
            f"{path}: there is no [groups.{group}]; there are: {', '.join(inventory.groups) or 'none'}"
        )
    boards = [
        _inherited(path, name, inventory)
        for name, board in inventory.boards.items()
        if group is None or board.group == group
    ]
    if not boards:
        raise InventoryError(f"{path}: no board of group {group}" if group else f"{path}: no [boards.NAME]")
    if not any(board.canary for board in boards):  # one goes first in any case
        boards[0] = FleetBoard(**{**vars(boards[0]), "canary": True})
    boards.sort(key=lambda board: not board.canary)
    return Fleet(path.stem, tuple(boards), inventory.rollout)


def _inherited(path: Path, name: str, inventory: Inventory) -> FleetBoard:
    board = inventory.boards[name]
    layers = [
        board,
        inventory.groups.get(board.group or "", Settings()),
        inventory.defaults,
        Settings(root="edgedistill", python="python3"),
    ]
    settings: dict[str, Any] = {
        key: next((getattr(layer, key) for layer in layers if getattr(layer, key) is not None), None)
        for key in Settings.model_fields
    }
    if settings["target"] is None:
        raise InventoryError(f"{path}: boards.{name} has no target, nor has its group or [defaults]")
    return FleetBoard(name, board.group, board.host or name, canary=board.canary, **settings)


def _fault_line(fault: ErrorDetails) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{where}: no such key"
    return f"{where}: {fault['msg'][0].lower()}{fault['msg'][1:]}, got {str(fault['input'])[:80]!r}"
