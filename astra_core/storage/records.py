"""Collections of versioned records with declared indexes: the words of the `Store` port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from astra_core.storage.writes import Scalar

__all__ = ["Collection", "Index", "Page", "Query", "Record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An ordered index over tuples of `parts` scalars (strings by code point, whole numbers of 64 bits).

    A part holds one type throughout. `unique` refuses a second record with an equal tuple; `multi` allows several
    tuples a record. `deferred`, of a `multi` that is not `unique`, is for an index whose order is random, such as that
    of a digest, and which is seldom asked: an engine may put its entries in order later, many at once, which costs a
    commit far less. It answers as any other does, to queries that fix its first part.
    """

    name: str
    parts: int = 1
    unique: bool = False
    multi: bool = False
    deferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A named set of records; names are lower-case identifiers. Stores take their collections when built."""

    name: str
    indexes: tuple[Index, ...] = ()


class Record(Struct, frozen=True):
    """One record as stored: `version` starts at 1 and grows by 1 with each replace."""

    key: str
    version: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Records of one index, in the order of its tuples and then of keys.

    `prefix` fixes the leading parts, `after` is the `next` of an earlier page of the same query, `contains` keeps
    records whose text holds that substring, `descending` turns the order round. `below` keeps entries whose first
    part behind the prefix is lower than it (for due times). `limit` counts records; a query that filters by
    `contains` looks at no more than `scan` entries and may therefore return fewer records and still a `next`.
    """

    collection: str
    index: str
    prefix: tuple[Scalar, ...] = ()
    below: Scalar | None = None
    contains: str = ""
    descending: bool = False
    after: tuple[Scalar, ...] | None = None
    limit: int = 100
    scan: int = 10_000


class Page(Struct, frozen=True):
    """Records in order, and `next`: where the following page begins (a full entry with its key), None at the end."""

    records: tuple[Record, ...]
    next: tuple[Scalar, ...] | None
