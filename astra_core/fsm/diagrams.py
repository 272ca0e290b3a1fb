"""Diagrams drawn from the machine itself, so that a picture in the docs can be held current by a test."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from astra_core.fsm.names import effect_name, event_name, guard_name, state_name

if TYPE_CHECKING:
    from astra_core.fsm.definition import Arrow, Machine

__all__ = ["to_mermaid"]

S = TypeVar("S", bound=Enum)

_RESERVED = frozenset({"as", "class", "classdef", "direction", "end", "note", "state", "style"})
_UNSAFE = re.compile(r"[^\w \[\](),./!=+-]+")


def to_mermaid(machine: Machine[S, Any, Any]) -> str:
    """Return a Mermaid `stateDiagram-v2`: states and arrows in the order of their declaration, no final newline.

    An arrow's label is `Event [guard] / effects`; a transition without a guard beside guarded ones shows `[else]`.
    """
    ids = {state: _id(state, place) for place, state in enumerate(machine.states)}
    lines = ["stateDiagram-v2"]
    lines += [
        f'    state "{_text(state_name(state))}" as {ids[state]}' for state in ids if ids[state] != state_name(state)
    ]
    lines += [f"    [*] --> {ids[state]}" for state in machine.initials]
    for each in machine.transitions:
        for source in each.sources:
            beside = bool(machine.table[source, each.event].guarded)
            lines.append(f"    {ids[source]} --> {ids[each.target]} : {_label(each, beside)}")
    lines += [f"    {ids[state]} --> [*]" for state in machine.final]
    return "\n".join(lines)


def _id(state: Enum, place: int) -> str:
    name = state_name(state)
    return name if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) and name.lower() not in _RESERVED else f"s{place}"


def _label(each: Arrow[Any, Any], beside_guarded: bool) -> str:
    label = event_name(each.event)
    if each.guard is not None:
        label += f" [{guard_name(each.guard)}]"
    elif beside_guarded:
        label += " [else]"
    if each.effects:
        label += f" / {', '.join(effect_name(effect) for effect in each.effects)}"
    return _text(label)


def _text(text: str) -> str:
    """Drop what Mermaid reads as syntax inside a label: colons, semicolons, quotes, `#`, arrows, new lines."""
    return " ".join(_UNSAFE.sub(" ", text).replace("--", "-").split())
