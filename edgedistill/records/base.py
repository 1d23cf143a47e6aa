"""The base of every record: a frozen pydantic value with one way from JSON and one way back.

A record keeps the form of what it holds: `1` stays an integer and `1.0` a float, and only the keys that were
given are written, in the order in which they were given. So JSON that is read and written again is the same JSON.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler  # pydantic itself names it from 2.10 on
from pydantic_core import ErrorDetails

from edgedistill.errors import EdgeDistillError, RunFolderError

Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
"""Keeps which of the two it was."""
Fraction = Annotated[int | float, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
Interval = Annotated[
    list[Number], WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2})
]
"""Low and high, of 95 %."""


class Record(BaseModel):
    """A frozen value with the keys of its JSON as fields. A field with a default is a key that may be absent.

    Lists and dicts inside are not to be changed either; build a new record with `model_copy(update=...)`.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
        defer_build=True,  # a verb reads a few of some 150 records; the validator of each is made when it is first used
    )

    @model_validator(mode="wrap")
    @classmethod
    def _keep_order(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Older releases wrote the same keys in another order."""
        record = handler(values)
        if isinstance(values, dict):
            held, names = (
                record.__dict__,
                {field.alias: name for name, field in cls.model_fields.items() if field.alias},
            )
            given = [name for name in (names.get(key, key) for key in values) if name in held]
            others = [name for name in held if name not in given]
            object.__setattr__(record, "__dict__", {name: held[name] for name in (*given, *others)})
        return record

    @classmethod
    def from_json(cls, values: Any, place: str, error: type[EdgeDistillError] = RunFolderError) -> Self:
        """Read parsed JSON.

        Args:
            values: of `json.loads`.
            place: for the message: the file, and what to do with it where that is known.
            error: the class to raise.

        Raises:
            EdgeDistillError: of the class `error`, in one line: a key that this release does not know, a key
                that is missing, or a value of the wrong type.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as invalid:
            raise error(f"{place}: {_line(invalid.errors(include_url=False))}") from None

    def given(self) -> dict[str, Any]:
        """The fields that were given, as they are: what another record with the same fields is made from."""
        return {key: value for key, value in self if key in self.model_fields_set}

    def to_json(self) -> dict[str, Any]:
        """JSON-able: the keys that were given, in the order in which they were given."""
        return self.model_dump(exclude_unset=True, by_alias=True)


class FileStamp(Record):
    """A file of an artifact, as it was when the stage ended."""

    sha256: str
    bytes: int
    mtime_ns: int


class ArtifactStamp(Record):
    """What an artifact was made from, and when: the key `artifact` of STAGE.json."""

    inputs: dict[str, Any]
    """Stage version, recipe values by dotted name, digests of the artifacts that were read."""
    files: dict[str, FileStamp]
    digest: str
    """SHA-256 over the values and the files."""
    seconds: Number
    cost: dict[str, Any] = {}
    """Facts of this execution alone: seconds, rates."""
    finished: str = ""
    """Date and time with its zone, ISO 8601."""


class ArtifactRecord(Record):
    """The JSON of a stage. `stage` names the stage that writes it."""

    stage: ClassVar[str]

    artifact: ArtifactStamp | None = None
    """None until the run folder has stored the record."""

    @property
    def stamp(self) -> ArtifactStamp:
        """What the run folder noted.

        Raises:
            ValueError: the record was not read from a run folder.
        """
        if self.artifact is None:
            raise ValueError(f"the record of {self.stage!r} has no stamp; read it from a run folder")
        return self.artifact

    def values(self) -> dict[str, Any]:
        """JSON-able: what the stage gave, without the stamp."""
        return {key: value for key, value in self.to_json().items() if key != "artifact"}


def _line(errors: list[ErrorDetails]) -> str:
    """The first fault; an unknown key comes before others, because it shows another release."""
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    place = [str(part) for part in first["loc"] if part not in ("int", "float")]  # the arms of `Number`
    key = ".".join(place)
    if first["type"] == "extra_forbidden":
        return f"has the key {key!r}, which this release does not know; use the release that wrote it, or a newer one"
    if first["type"] == "missing":
        return f"lacks the key {key!r}; it is damaged or not of this kind"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{key}: {message}"
    shown = repr(first["input"])
    return f"{key or 'the JSON'}: {message}, got {shown if len(shown) <= 60 else shown[:57] + '...'}"
