"""Which meters are on a line: what is asked next, and what the answers mean. Pure.

M-Bus documentation 4.8, 7.1 and 7.3. By secondary address the digits of the number are tried from the left; where
several meters answer, each next digit. Meters of one number are told apart by manufacturer, then medium and version.

Damage looks like a collision. What came damaged is therefore asked for again, unless so little damage has been seen
on this line, and so many meters must be there, that asking costs more than ten selections in vain: those find a single
meter just the same. What stayed silent on a line with damage is asked again at the end, and harder. A line on which no
damage has been seen may have lost a selection all the same, which looks like silence: some of what stayed silent,
the widest places, is asked once more, and a meter found there is damage seen.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from drivers.mbus import secondary
from drivers.mbus.secondary import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drivers.mbus.master import Asked

Way = Literal["primary", "secondary"]
_DIGITS, _HEX_DIGITS = "0123456789", "abcde"
_NUMBER_DIGITS = 8
_SPACE = 10**_NUMBER_DIGITS
_ADDRESSES = range(251)
_MEDIA = range(0x40)
"""EN 13757-3, table of the media; higher codes are reserved"""
_VERSIONS = range(0xFF)
"""FF stands for any"""
_ANY_MAKER, _ANY = 0xFFFF, 0xFF
_SPLIT_COST, _TWICE_COST = 2.65, 1.1
"""seconds at 2400 baud: ten selections that nobody answers; a damaged answer, as long as the longest in it"""
_SEVERAL_AT_FIRST, _SEVERAL_AT_LEAST, _SEVERAL_ALIKE = 0.3, 0.2, 0.01
"""how likely several meters are where one is: before anything is known; always, as meters are bought by the lot; of
one number or address"""
_DOUBTFUL = 0.1
_TRIES_ALIKE, _MOST_TRIES, _MOST_TRIES_ALIKE = 3, 12, 30
"""the last where much comes damaged: to tell apart who shares a number takes up to 320 selections"""
_MUCH = 0.25
_FEW, _MANY = 20, 40
"""after so few whole answers all silent places are asked once more; so many speak for the line, and none is"""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    kind: Literal["ask", "check", "again", "rest"]
    """ask; ask once more; ask harder, even where nothing acknowledges; look whether all that must be there has been
    found"""
    place: str
    """primary address, or secondary address of 16 digits"""
    found: int = 0
    """of "rest": how many meters were known when the place was divided"""

    @property
    def asked(self) -> Asked:
        """Whom to ask."""
        return int(self.place) if len(self.place) < _NUMBER_DIGITS else secondary.parse(self.place)


@dataclass(slots=True, kw_only=True)
class Search:
    """What is still to be done, and what is known of the line."""

    makers: Sequence[int]
    """manufacturers to try where meters share their number"""
    pending: list[Step]
    """the last one is next"""
    silent: list[str] = field(default_factory=list)
    covered: int = 0
    """numbers of which it is known who has them"""
    seen: list[str] = field(default_factory=list)
    """the meters that were found: their 16 digits, or their primary addresses"""
    untold: int = 0
    """meters that cannot be told apart: at least so many"""
    answers: int = 0
    """of single meters"""
    damaged: int = 0
    """of these, how many were not whole"""
    uneven: bool = False
    """whether acknowledgements have come damaged or were lost"""
    selections: int = 0
    seen_before: int = -1
    """how many meters were known when the silent places were last asked again"""

    def next(self) -> Step | None:
        """What to do now; None at the end."""
        while self.pending:
            step = self.pending.pop()
            if step.kind != "rest":
                return step
            self._rest(step)
        if self.seen_before == len(self.seen):
            return None
        self.pending, self.seen_before = self._once_more(), len(self.seen)
        return self.pending.pop() if self.pending else None

    def _once_more(self) -> list[Step]:
        """What stayed silent and is asked again, the last one next."""
        if self.uneven or self.damaged:
            silent, self.silent = self.silent, []
            return [Step("again", place) for place in reversed(silent)]
        share = min(max(_MANY - self.answers, 0), _MANY - _FEW)
        some = len(self.silent) * share // (_MANY - _FEW)
        widest = sorted(self.silent, key=lambda place: -place.count("F"))[:some]
        self.silent = [place for place in self.silent if place not in widest]
        return [Step("check", place) for place in reversed(widest)]

    def silence(self, step: Step) -> None:
        """Nobody is there."""
        self.silent.append(step.place)
        if step.kind == "ask":
            self.covered += _numbers(step.asked)

    def one(self, step: Step, meter: str) -> bool:
        """One meter is there; whether it had not been found before."""
        self.uneven = self.uneven or step.kind == "check"
        new = meter not in self.seen
        if new:
            self.seen.append(meter)
        if step.kind == "ask":
            self.covered += _numbers(step.asked)
        return new

    def several(self, step: Step, *, surely: bool) -> bool:
        """More than one is there; False where they cannot be told apart any further."""
        self.uneven = self.uneven or step.kind == "check"
        asked = step.asked
        parts = [] if isinstance(asked, int) else list(_parts(asked, self.makers))
        if not parts:
            self.untold += 2
        elif surely:
            self.pending.append(Step("rest", step.place, len(self.seen) + self.untold))
        self.pending += [Step("ask", str(part)) for part in reversed(parts)]
        return bool(parts)

    def crowded(self, asked: Asked) -> bool:
        """Whether so many meters must fit that their data would only collide: they are not asked for."""
        return self._several(asked) > _SPLIT_COST / (_SPLIT_COST + _TWICE_COST)

    def doubts(self, asked: Asked) -> bool:
        """Whether a whole answer may still be several that coincided bit for bit: then its meter is asked by name."""
        if isinstance(asked, int) or _ANY not in (asked.version, asked.medium):
            return False
        return _alike(asked) or self._more(asked) > _DOUBTFUL

    def asks_again(self, asked: Asked, damaged: int) -> bool:
        """Whether an answer that has come damaged so many times is asked for once more before it counts as several."""
        several, damage = self._several(asked), self._damage()
        if _alike(asked) and damaged < (_MOST_TRIES_ALIKE if self.is_bad() else _TRIES_ALIKE):
            return True
        if damaged >= _MOST_TRIES:
            return False
        noise = damage**damaged * (1 - several)
        return noise * _SPLIT_COST > (noise + several) * _TWICE_COST

    def is_bad(self) -> bool:
        """Whether much comes damaged."""
        return self._damage() > _MUCH

    def percent(self) -> int:
        """How much is done."""
        primary = sum(len(step.place) < _NUMBER_DIGITS for step in self.pending)
        return 100 - 100 * primary // len(_ADDRESSES) if primary else min(100 * self.covered // _SPACE, 100)

    def dump(self) -> str:
        """All of it as text, to go on from here another day."""
        kept = {name: getattr(self, name) for name in _KEPT}
        return json.dumps({**kept, "pending": [(each.kind, each.place, each.found) for each in self.pending]})

    def _damage(self) -> float:
        """How likely an answer comes damaged, by those of single meters."""
        return (self.damaged + 1) / (self.answers + 3)

    def _several(self, asked: Asked) -> float:
        """How likely it is that more than one meter fits where at least one does, by what is known of the others."""
        if _alike(asked):
            return _SEVERAL_ALIKE
        return max(self._more(asked), _SEVERAL_AT_LEAST) if self.covered else _SEVERAL_AT_FIRST

    def _more(self, asked: Asked) -> float:
        """The same where numbers are as if drawn by lot."""
        if not self.covered:
            return 1.0
        expected = len(self.seen) * _numbers(asked) / self.covered
        some = -math.expm1(-expected)
        return 1 - expected * math.exp(-expected) / some if some else 0.0

    def _rest(self, step: Step) -> None:
        """Where several answered and fewer than two were found, it was damage, or there are more: look again."""
        asked = step.asked
        if isinstance(asked, int) or len(self.seen) + self.untold - step.found > 1:
            return
        self.damaged += 1
        within = [place for place in self.silent if _within(place, step.place)]
        self.silent = [place for place in self.silent if place not in within]
        rare = [Step("ask", str(part)) for part in reversed(list(_rare_parts(asked)))]
        self.pending += [*rare, *(Step("again", place) for place in reversed(within))]


_KEPT = ("makers", "silent", "covered", "seen", "untold", "answers", "damaged", "uneven", "selections", "seen_before")


def begin(way: Way, makers: Iterable[int]) -> Search:
    """A search from its beginning."""
    first = [str(address) for address in _ADDRESSES] if way == "primary" else map(str, _next_digit(Pattern(), _DIGITS))
    return Search(makers=tuple(makers), pending=[Step("ask", place) for place in reversed(list(first))])


def resume(text: str) -> Search:
    """The search that was dumped. ValueError, KeyError or TypeError where the text is none."""
    kept = json.loads(text)
    return Search(**{**kept, "pending": [Step(*each) for each in kept["pending"]]})


def _parts(pattern: Pattern, makers: Iterable[int]) -> Iterable[Pattern]:
    if "f" in pattern.number:
        return _next_digit(pattern, _DIGITS)
    if pattern.manufacturer == _ANY_MAKER and pattern.medium == _ANY:
        return [replace(pattern, manufacturer=maker) for maker in makers]
    if pattern.medium == _ANY:
        return [replace(pattern, medium=medium) for medium in _MEDIA]
    if pattern.version == _ANY:
        return [replace(pattern, version=version) for version in _VERSIONS]
    if pattern.manufacturer == _ANY_MAKER:
        return [replace(pattern, manufacturer=maker) for maker in makers]
    return []


def _rare_parts(pattern: Pattern) -> Iterable[Pattern]:
    """Digits that are none, which some meters show; manufacturers that no model knows."""
    if "f" in pattern.number:
        return _next_digit(pattern, _HEX_DIGITS)
    if pattern.manufacturer == _ANY_MAKER and pattern.medium == _ANY:
        return [replace(pattern, medium=medium) for medium in _MEDIA]
    return []


def _next_digit(pattern: Pattern, digits: str) -> Iterable[Pattern]:
    known = pattern.number.rstrip("f")
    return [replace(pattern, number=(known + digit).ljust(_NUMBER_DIGITS, "f")) for digit in digits]


def _numbers(asked: Asked) -> int:
    """How many numbers fit; none where only a part of those who share one does."""
    if isinstance(asked, int) or asked.manufacturer != _ANY_MAKER or asked.medium != _ANY or asked.version != _ANY:
        return 0
    known = asked.number.rstrip("f")
    return 10 ** (_NUMBER_DIGITS - len(known)) if known.isdecimal() else 0


def _within(place: str, wider: str) -> bool:
    return len(place) == len(wider) and all(one in ("F", other) for other, one in zip(place, wider, strict=True))


def _alike(asked: Asked) -> bool:
    """Whether all that fit have one address or one number."""
    return isinstance(asked, int) or "f" not in asked.number
