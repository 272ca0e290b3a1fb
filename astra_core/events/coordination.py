"""Events of leases, members and slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["LeaseEnded", "LeaseTaken", "MembersChanged", "SlotHandedOver", "WorkFailed"]


@dataclass(frozen=True, slots=True)
class LeaseTaken:
    """This process holds the lease `name` from now on; `epoch` tells this holding from every other one."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """This process no longer holds the lease `name` of `epoch`: it was `released`, or `lost` by a late renewal."""

    name: str
    epoch: int
    outcome: Literal["released", "lost"]


@dataclass(frozen=True, slots=True)
class WorkFailed:
    """What was done under the lease `name` raised; `cause` is the error's class name. The lease goes to who comes."""

    name: str
    cause: str


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """There are `members` from now on, this process among them or not; `revision` is the number of their list."""

    revision: int
    members: int


@dataclass(frozen=True, slots=True)
class SlotHandedOver:
    """The slot `slot` was `taken` or `given`, `seconds` after the list of members that asked for it was seen."""

    slot: int
    side: Literal["given", "taken"]
    seconds: float
