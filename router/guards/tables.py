"""Tables of at most so many records: the newest are objects, the older ones are packed into bytes.

A record is asked for again within moments or hardly ever, so the newest 512 of a table stay as they are, and the others
wait in a tenth of the room until somebody asks for them: Python's garbage collector does not look at bytes either.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Far more than one event touches: whoever has got a record may change it until so many others were got.
NEWEST_MAX = 512
# So many more may gather before those are packed together: that costs less than one by one.
AGED_SHARE = 8
# Room is made for many at once, or what was taken out would be skipped again and again to find the longest unused.
OLDEST_MAX = 1_024
OLDEST_SHARE = 8
# A table without its holes is built anew when so much of it was taken out.
HOLES_SHARE = 16
SPENT = struct.Struct("<q")


class Weighed(Protocol):
    """What has spent something."""

    spent_nanousd: int


Record = TypeVar("Record")
WeighedRecord = TypeVar("WeighedRecord", bound=Weighed)
Key = TypeVar("Key", int, str)
# Alone, or beside the one field that is no number.
Packed: TypeAlias = bytes | tuple[bytes, object]


class Packing(Generic[WeighedRecord]):
    """How a record becomes bytes and is itself again: its numbers by struct's letters, what it has spent first.

    ``always`` and ``seldom`` name two fields or more each, with a dot where one lies in another; ``seldom`` are those
    that are zero in a new record and in most others, which then take no room. ``apart`` is a field that is kept as it
    is, empty in most. A record with a number that has no room in its field is kept as an object.
    """

    def __init__(
        self,
        new: Callable[[], WeighedRecord],
        always: Mapping[str, str],
        seldom: Mapping[str, str],
        apart: str | None = None,
    ) -> None:
        always = {"spent_nanousd": "q", **always}
        self._new = new
        self._always, self._seldom = (struct.Struct("<" + "".join(each.values())) for each in (always, seldom))
        self._of_always, self._of_seldom = attrgetter(*always), attrgetter(*seldom)
        self._always_names, self._seldom_names = _places(always), _places(seldom)
        self._apart = apart
        self._of_apart = None if apart is None else attrgetter(apart)
        letters = list(always.values())
        self._starts = {name: struct.calcsize("<" + "".join(letters[:index])) for index, name in enumerate(always)}

    def pack(self, record: WeighedRecord) -> Packed | WeighedRecord:
        """The record's bytes."""
        seldom = self._of_seldom(record)
        try:
            packed = self._always.pack(*self._of_always(record))
            if any(seldom):
                packed += self._seldom.pack(*seldom)
        except (struct.error, OverflowError):
            return record
        apart = self._of_apart(record) if self._of_apart is not None else None
        return (packed, apart) if apart else packed

    def unpack(self, packed: Packed) -> WeighedRecord:
        """A record of its own, equal to the one that was packed."""
        record = self._new()
        if isinstance(packed, tuple):
            packed, apart = packed
            setattr(record, cast("str", self._apart), apart)
        _fill(record, self._always_names, self._always.unpack_from(packed))
        if len(packed) > self._always.size:
            _fill(record, self._seldom_names, self._seldom.unpack_from(packed, self._always.size))
        return record

    def has(self, packed: Packed, name: str, number: bytes) -> bool:
        """Whether one of the fields that are always there holds a number, given as its bytes: without unpacking."""
        return (packed[0] if isinstance(packed, tuple) else packed).startswith(number, self._starts[name])


def _places(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Of each field, in which other one it lies ("" in none), and its name there."""
    return [(outer, name) for outer, _, name in (each.rpartition(".") for each in fields)]


def _fill(record: object, places: list[tuple[str, str]], values: tuple[object, ...]) -> None:
    for (outer, name), value in zip(places, values, strict=True):
        setattr(getattr(record, outer) if outer else record, name, value)


class Bounded(Generic[Key, Record]):
    """A table of at most ``size`` records; money keeps a record longer than use alone does.

    ``get`` and ``put`` make a record the most recently used one. Past the bound, of those that were longest unused (an
    eighth of the table, 1,024 at most) the cheaper half goes; of equals, the longer unused. ``spent`` says what a
    record has spent, in nano-USD.
    """

    def __init__(
        self,
        size: int,
        spent: Callable[[Record], int],
        packing: Packing[Record] | None = None,  # type: ignore[type-var]
    ) -> None:
        self.size = size
        self._spent = spent
        self._packing = packing
        self._newest: OrderedDict[Key, Record] = OrderedDict()
        # The longest unused first.
        self._older: dict[Key, Packed | Record] = {}
        self._holes = 0

    @property
    def size(self) -> int:
        """How many records there is room for."""
        return self._size

    @size.setter
    def size(self, size: int) -> None:
        self._size = size
        self._newest_max = min(NEWEST_MAX, max(size // 2, 1))
        self._newest_full = self._newest_max + self._newest_max // AGED_SHARE

    def get(self, key: Key) -> Record | None:
        """The record, from now on the most recently used one; what is changed in it is kept."""
        record = self._newest.get(key)
        if record is not None:
            self._newest.move_to_end(key)
            return record
        older = self._older.pop(key, None)
        if older is None:
            return None
        self._holes += 1
        return self._add(key, self._unpacked(older))

    def peek(self, key: Key) -> Record | None:
        """The record, to be read only, without using it."""
        record = self._newest.get(key)
        if record is None:
            older = self._older.get(key)
            return None if older is None else self._unpacked(older)
        return record

    def spent_of(self, key: Key) -> int:
        """What the record has spent, 0 where there is none: nano-USD."""
        record = self._newest.get(key)
        if record is not None:
            return self._spent(record)
        older = self._older.get(key)
        return 0 if older is None else self._weight(older)

    def put(self, key: Key, record: Record) -> Record:
        """Keep it, and let go of others where there is no room."""
        if key in self._newest:
            self._newest.move_to_end(key)
            self._newest[key] = record
            return record
        if self._older.pop(key, None) is not None:
            self._holes += 1
        return self._add(key, record)

    def drop(self, key: Key) -> None:
        """Forget it, if it is there."""
        self._newest.pop(key, None)
        if self._older.pop(key, None) is not None:
            self._holes += 1

    def items(self) -> Iterator[tuple[Key, Record]]:
        """Every record, to be read only, the longest unused first."""
        found = [(key, self._unpacked(each)) for key, each in self._older.items()]
        found += self._newest.items()
        return iter(found)

    def having(self, name: str, number: int) -> list[tuple[Key, Record]]:
        """Those records, to be read only, whose field ``name``, one of 64 bits that is always packed, is the number."""
        packing, sought = self._packing, (number % 2**64).to_bytes(8, "little")
        found: list[tuple[Key, Record]] = list(self._newest.items())
        for key, each in self._older.items():
            if packing is None or not isinstance(each, bytes | tuple) or packing.has(each, name, sought):
                found.append((key, self._unpacked(each)))
        return [(key, record) for key, record in found if getattr(record, name) == number]

    def __len__(self) -> int:
        return len(self._newest) + len(self._older)

    def _add(self, key: Key, record: Record) -> Record:
        """Put in what is not there."""
        newest = self._newest
        newest[key] = record
        if len(newest) > self._newest_full:
            self._age()
        if len(newest) + len(self._older) > self._size:
            self._make_room()
        return record

    def _age(self) -> None:
        """Pack the oldest of the newest."""
        newest, older = self._newest, self._older
        aged = list(islice(newest.items(), len(newest) - self._newest_max))
        pack = None if self._packing is None else self._packing.pack
        for key, record in aged:
            del newest[key]
            older[key] = record if pack is None else pack(record)

    def _make_room(self) -> None:
        older, weight = self._older, self._weight
        oldest = list(islice(older, min(max(self.size // OLDEST_SHARE, 2), OLDEST_MAX)))
        oldest.sort(key=lambda key: weight(older[key]))
        gone = oldest[: (len(oldest) + 1) // 2]
        for key in gone:
            del older[key]
        self._holes += len(gone)
        if self._holes > self.size // HOLES_SHARE:
            self._older, self._holes = dict(older), 0

    def _unpacked(self, each: Packed | Record) -> Record:
        if self._packing is not None and isinstance(each, bytes | tuple):
            return self._packing.unpack(each)
        return cast("Record", each)

    def _weight(self, each: Packed | Record) -> int:
        if self._packing is not None and isinstance(each, bytes | tuple):
            spent: int = SPENT.unpack_from(each if isinstance(each, bytes) else each[0])[0]
            return spent
        return self._spent(cast("Record", each))
