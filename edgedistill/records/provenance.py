"""Where a figure comes from: a kind, and in words how. In JSON and on a page it is the text `kind: how`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, InstanceOf, PlainSerializer, WithJsonSchema


class Kind(StrEnum):
    """How far a figure can be relied on for the board."""

    MEASURED = "measured"
    """Timed or counted on the machine that the text names."""
    STAND_IN = "stand-in"
    """Measured on another machine in place of the board: says nothing about the board's speed."""
    SIMULATED = "simulated"
    """Computed here as the board would compute it."""
    PREDICTED = "predicted"
    """By a model fitted to published measurements."""
    PUBLISHED = "published"
    """By someone else; the text names the source."""
    COUNTED = "counted"
    """From the network itself, without running it."""
    GIVEN = "given"
    """By the recipe."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Provenance:
    """`str()` gives the text that stands in JSON.

    Attributes:
        kind: what code may ask for.
        how: for people; "" where nothing is known.
    """

    kind: Kind
    how: str = ""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read `kind: how`.

        Raises:
            ValueError: it does not begin with one of the kinds.
        """
        kind, colon, how = text.partition(": ")
        if kind not in set(Kind) or (colon and not how):
            raise ValueError(f"a provenance is `kind: how` with kind one of {', '.join(Kind)}; got {text!r}")
        return cls(Kind(kind), how)

    @property
    def is_measured(self) -> bool:
        """On the machine that the figure is about."""
        return self.kind is Kind.MEASURED

    @property
    def is_stand_in(self) -> bool:
        return self.kind is Kind.STAND_IN

    def __str__(self) -> str:
        return f"{self.kind}: {self.how}" if self.how else str(self.kind)


def _parsed(value: Any) -> Any:
    return Provenance.from_text(value) if isinstance(value, str) else value


ProvenanceField = Annotated[
    InstanceOf[Provenance],
    BeforeValidator(_parsed),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(Kind)})(: .+)?$"}),
]
"""For a field of a record: text in JSON, a `Provenance` in the record."""
