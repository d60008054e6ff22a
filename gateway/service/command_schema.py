"""Commands that change something, as they travel: strict models, read at the edge and nowhere else."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter

from gateway.core.building import Key, Scope  # noqa: TC001 - pydantic reads the annotations
from gateway.service.property_fields import Day, Id, Strict, Text

_WHEN_USED = ConfigDict(defer_build=True)
Value = dict[str, Any]
"""an entry as in property.toml, its dates as text; which keys it may have, its table says"""
Kind = Literal[
    "facility", "building", "point", "user", "owner", "occupancy", "meter", "register", "link", "rate", "badge"
]


class Named(Strict):
    """An entry and its table."""

    kind: Kind
    value: Value


class Import(Strict):
    """Take over entries, all or nothing; what is not mentioned stays."""

    verb: Literal["import"] = "import"
    entries: tuple[Named, ...] = Field(strict=False)
    refused: tuple[tuple[str, str], ...] = Field(default=(), strict=False)
    """kind and id of what its file holds but nobody can read: it gives rise to no other problem"""
    references: tuple[tuple[str, str, str, str], ...] = Field(default=(), strict=False)
    """kind and id of such an entry, a key of it, and the id of what that refers to"""
    plan: bool = False
    """say what would change, and change nothing"""


class Add(Strict):
    """One new entry; with a link its point where that is new, with a facility its owner, whom it needs."""

    verb: Literal["add"] = "add"
    kind: Kind
    value: Value
    """without id: one is made of what it names, where the table allows it"""
    new_point: Value | None = None
    owner: Id | None = None
    """user who owns a new facility"""


class Set(Strict):
    """Other values of one entry; None removes a key."""

    verb: Literal["set"] = "set"
    kind: Kind
    id: Id
    value: Value
    since: Day | None = None
    """the day from which a dated value holds"""


class End(Strict):
    """One entry ends on a day; or was a mistake and never held."""

    verb: Literal["end"] = "end"
    kind: Kind
    id: Id
    day: Day | None = None
    """as its table writes it: of a stay the last day, else the first day without it"""
    mistaken: bool = False


class Move(Strict):
    """Who lives at a point from a day on; nobody: the owner pays."""

    verb: Literal["move"] = "move"
    point: Id
    day: Day
    to: Id | None = Field(default=None, examples=["blumer"])


class Share(Strict):
    """How all points that a register is linked to share it, from a day on or since ever."""

    verb: Literal["allocation set"] = "allocation set"
    register_: Id = Field(alias="register", examples=["power-1-import"])
    scope: Scope
    key: Key
    values: dict[Id, str] = Field(default_factory=dict)
    """point -> its own value of the key; without: the point's"""
    since: Day | None = None


class Exchange(Strict):
    """One meter ends and another begins on the same links; or that was a mistake and never happened."""

    verb: Literal["exchange"] = "exchange"
    meter: Id = Field(examples=["power-1"])
    at: Text
    final: dict[str, str] = Field(default_factory=dict)
    """register (its id, or its key at the meter) -> last index of the old meter"""
    start: dict[str, str] = Field(default_factory=dict)
    serial: Text | None = None
    """of the new meter; of a mistaken exchange: of the meter that is there, where it is not known"""
    mistaken: bool = False


class AddReading(Strict):
    """An index that a person read."""

    verb: Literal["reading add"] = "reading add"
    meter: Id = Field(examples=["power-1"])
    register_: Text = Field(alias="register")
    at: Text
    value: Text
    reason: Text


class VoidReading(Strict):
    """A reading that does not count."""

    verb: Literal["reading void"] = "reading void"
    meter: Id = Field(examples=["power-1"])
    register_: Text = Field(alias="register")
    at: Text
    reason: Text


class VoidSpan(Strict):
    """All that a meter told from one instant until before another, which does not count."""

    verb: Literal["reading void span"] = "reading void span"
    meter: Id = Field(examples=["power-1"])
    register_: Text | None = Field(default=None, alias="register")
    """without: of all its registers"""
    start: Text = Field(alias="from")
    until: Text = Field(alias="to")
    reason: Text
    yes: bool = False
    """without: what would be void is told, and nothing done"""


class EndAlarm(Strict):
    """A person has dealt with what an alarm says."""

    verb: Literal["alarm end"] = "alarm end"
    id: Id = Field(examples=["5f1c2a9e-12"])
    reason: Text


class Enrol(Strict):
    """A badge whose identifier a reader reads: two taps within a minute."""

    verb: Literal["badge enrol"] = "badge enrol"
    reader: Id = Field(examples=["reader-1"])
    value: Value
    """the badge without its identifier"""


Change = Import | Add | Set | End | Move | Share | Exchange
"""a command that changes entries"""
Command = Change | AddReading | VoidReading | VoidSpan | EndAlarm


class Lines(Strict):
    """How the lines are doing; changes nothing."""

    verb: Literal["lines"] = "lines"


VERBS: dict[str, type[Strict]] = {
    model.model_fields["verb"].default: model for model in get_args(Command | Enrol | Lines)
}
COMMAND: TypeAdapter[Command | Enrol | Lines] = TypeAdapter(
    Annotated[Command | Enrol | Lines, Field(discriminator="verb")], config=_WHEN_USED
)


class ChangeTold(Strict):
    """One entry before and after; None where it was not there, or is not there any more."""

    kind: str
    id: str
    before: Value | None
    after: Value | None


class ProblemTold(Strict):
    """One thing that speaks against a command."""

    kind: str = ""
    id: str = ""
    field: str = ""
    text: str

    def __str__(self) -> str:
        place = " ".join(part for part in (self.kind, self.id) if part)
        return ": ".join(part for part in (place, self.field, self.text) if part)


class HeldTold(Strict):
    """What of a register cannot be charged again, and why; its instants with the offset of the facility."""

    code: str
    register_: str
    start: str
    until: str
    text: str

    def __str__(self) -> str:
        return f"register {self.register_}, {self.start} to {self.until}: {self.text}"


class MonthTold(Strict):
    """What becomes of the charges of a closed month."""

    facility: str
    month: str
    taken_back: int
    charged: int
    held: tuple[HeldTold, ...] = Field(default=(), strict=False)


class Answer(Strict):
    """What became of a command."""

    ok: bool
    applied: bool = False
    changes: tuple[ChangeTold, ...] = Field(default=(), strict=False)
    unchanged: int = 0
    settled_again: tuple[str, ...] = Field(default=(), strict=False)
    """the closed months that it touches: ("2026-09", "2026-10")"""
    foreseen: tuple[MonthTold, ...] | None = Field(default=(), strict=False)
    """what becomes of their charges; None where it takes too long to say"""
    said: str = ""
    """what was done, where the changes alone do not say it"""
    problems: tuple[ProblemTold, ...] = Field(default=(), strict=False)
    unreachable: bool = False
    """a device did not answer"""

    @property
    def added(self) -> int:
        """How many entries are new."""
        return sum(change.before is None for change in self.changes)

    @property
    def ended(self) -> int:
        """How many entries are not there any more."""
        return sum(change.after is None for change in self.changes)

    @property
    def changed(self) -> int:
        """How many entries have other values."""
        return len(self.changes) - self.added - self.ended


class Progress(Strict):
    """Comes before the answer: what the person is to do now."""

    progress: str


HEARD: TypeAdapter[Progress | Answer] = TypeAdapter(Progress | Answer, config=_WHEN_USED)


def refusal(*texts: str) -> Answer:
    """Nothing was done, for these reasons."""
    return Answer(ok=False, problems=tuple(ProblemTold(text=text) for text in texts))
