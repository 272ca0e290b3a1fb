"""Diagrams drawn from the machine itself, so that a picture in the docs can be held current by a test."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from astra_core.fsm.names import effect_name, event_name, guard_name, state_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astra_core.fsm.definition import Arrow, Machine
    from astra_core.fsm.stays import Within

__all__ = ["to_dot", "to_mermaid"]

S = TypeVar("S", bound=Enum)

_RESERVED = frozenset({"as", "class", "classdef", "direction", "end", "note", "state", "style"})
_OURS = re.compile(r"(s|composite)\d+\Z")
"""Ids that are given here, so no state stands under one as its name."""
_UNSAFE = re.compile(r"[^\w \[\](),./!=+-]+")


def to_mermaid(machine: Machine[S, Any, Any]) -> str:
    """Return a Mermaid `stateDiagram-v2`: states and arrows in the order of their declaration, no final newline.

    An arrow's label is `Event [guard] / effects`; a transition without a guard beside guarded ones shows `[else]`.
    Composites are drawn round their states; what a state does on entry, on exit and in time is a note beside it.
    """
    names = [state_name(state) for state in machine.states]
    ids = {
        state: name if _is_id(name) and names.count(name) == 1 else f"s{place}"
        for place, (state, name) in enumerate(zip(machine.states, names, strict=True))
    }
    lines = ["stateDiagram-v2"]
    lines += [
        f'    state "{_text(state_name(state))}" as {ids[state]}' for state in ids if ids[state] != state_name(state)
    ]
    lines += _mermaid_composites(machine, ids)
    lines += [f"    [*] --> {ids[state]}" for state in machine.initials]
    lines += [
        f"    {ids[source]} --> {ids[each.target]} : {_text(_label(machine, source, each))}"
        for source, each in _arrows(machine)
    ]
    lines += [f"    {ids[state]} --> [*]" for state in machine.final]
    for stay in machine.within:
        where = _group(machine, stay) if len(stay.members) > 1 else ids[stay.members[0]]
        lines += [f"    note right of {where} : {_text(', '.join(doing))}" for doing in [[*_doing(stay)]] if doing]
    return "\n".join(lines)


def to_dot(machine: Machine[S, Any, Any]) -> str:
    """Return the same diagram for Graphviz; composites are clusters, final states have a double border."""
    ids = {state: f"s{place}" for place, state in enumerate(machine.states)}
    lines = [f"digraph {_quoted(machine.name)} {{", "    rankdir=LR;", "    node [shape=box, style=rounded];"]
    for state in machine.states:
        inside = [state_name(state), *(doing for stay in _alone(machine, state) for doing in _doing(stay))]
        border = ", peripheries=2" if state in machine.final else ""
        lines.append(f"    {ids[state]} [label={_quoted(*inside)}{border}];")
    for stay, depth, opens in _nesting(machine):
        title = _quoted(stay.name, *_doing(stay))
        inner = [f"{ids[state]};" for state in _direct(machine, stay)]
        text = [f"subgraph cluster_{_group(machine, stay)} {{", f"    label={title};"] if opens else ["}"]
        lines += ["    " * depth + line for line in (*text, *("    " + name for name in inner if opens))]
    for place, state in enumerate(machine.initials):
        lines += [f"    i{place} [shape=point];", f"    i{place} -> {ids[state]};"]
    lines += [
        f"    {ids[source]} -> {ids[each.target]} [label={_quoted(_label(machine, source, each))}];"
        for source, each in _arrows(machine)
    ]
    return "\n".join([*lines, "}"])


def _mermaid_composites(machine: Machine[S, Any, Any], ids: dict[S, str]) -> Iterator[str]:
    for stay, depth, opens in _nesting(machine):
        indent = "    " * depth
        if not opens:
            yield f"{indent}}}"
            continue
        yield f'{indent}state "{_text(stay.name)}" as {_group(machine, stay)} {{'
        yield from (f"{indent}    {ids[state]}" for state in _direct(machine, stay))


def _nesting(machine: Machine[S, Any, Any]) -> Iterator[tuple[Within[S], int, bool]]:
    """Yield each composite when it opens and when it closes, with its depth, outer ones round inner ones."""
    groups = sorted((stay for stay in machine.within if len(stay.members) > 1), key=lambda stay: -len(stay.members))

    def walk(inside: set[S], depth: int) -> Iterator[tuple[Within[S], int, bool]]:
        for stay in groups:
            members = set(stay.members)
            around = [other for other in groups if members < set(other.members)]
            if len(around) == depth - 1 and members <= inside:
                yield stay, depth, True
                yield from walk(members, depth + 1)
                yield stay, depth, False

    yield from walk(set(machine.states), 1)


def _direct(machine: Machine[S, Any, Any], stay: Within[S]) -> Iterator[S]:
    """Yield the states that a composite holds and no smaller composite does."""
    smaller = [set(other.members) for other in machine.within if 1 < len(other.members) < len(stay.members)]
    yield from (state for state in stay.members if not any(state in each for each in smaller))


def _alone(machine: Machine[S, Any, Any], state: S) -> Iterator[Within[S]]:
    yield from (stay for stay in machine.within if stay.members == (state,))


def _arrows(machine: Machine[S, Any, Any]) -> Iterator[tuple[S, Arrow[S, Any]]]:
    yield from ((source, each) for each in machine.transitions for source in each.sources)


def _doing(stay: Within[Any]) -> Iterator[str]:
    yield from (f"entry / {effect_name(effect)}" for effect in stay.entry)
    yield from (f"exit / {effect_name(effect)}" for effect in stay.exit)
    for timer in stay.timers:
        when = guard_name(timer.at) if timer.after is None else f"{timer.after:g} s"
        yield f"{'at' if timer.after is None else 'after'} {when} / {timer.name}"


def _is_id(name: str) -> bool:
    """Whether Mermaid takes a name as it is."""
    plain = re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) is not None
    return plain and name.lower() not in _RESERVED and not _OURS.match(name)


def _group(machine: Machine[S, Any, Any], stay: Within[S]) -> str:
    return f"composite{machine.within.index(stay)}"


def _label(machine: Machine[S, Any, Any], source: S, each: Arrow[S, Any]) -> str:
    label = event_name(each.event)
    if each.guard is not None:
        label += f" [{guard_name(each.guard)}]"
    elif machine.table[source, each.event].guarded:
        label += " [else]"
    if each.effects:
        label += f" / {', '.join(effect_name(effect) for effect in each.effects)}"
    return label


def _text(text: str) -> str:
    """Drop what Mermaid reads as syntax inside a label: colons, semicolons, quotes, `#`, arrows, new lines."""
    return " ".join(_UNSAFE.sub(" ", text).replace("--", "-").split())


def _quoted(*lines: str) -> str:
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'
