"""What a link is: its record, its states, its life, and the rules for its fields. Pure: no I/O, no clock."""

from app.domain.errors import InvalidLink, InvalidUrl, ReservedCode
from app.domain.lifecycle import LIFECYCLE, Delete, Disable, Enable, Exhaust, Expire, LinkEvent, Start, apply, decide
from app.domain.links import BaseState, Link, LinkState, due_state, state_of
from app.domain.rules import Problem, check_code, check_fields, check_times, clean_tags, is_reserved
from app.domain.urls import normalise, own_places, readable_host

__all__ = [
    "LIFECYCLE",
    "BaseState",
    "Delete",
    "Disable",
    "Enable",
    "Exhaust",
    "Expire",
    "InvalidLink",
    "InvalidUrl",
    "Link",
    "LinkEvent",
    "LinkState",
    "Problem",
    "ReservedCode",
    "Start",
    "apply",
    "check_code",
    "check_fields",
    "check_times",
    "clean_tags",
    "decide",
    "due_state",
    "is_reserved",
    "normalise",
    "own_places",
    "readable_host",
    "state_of",
]
