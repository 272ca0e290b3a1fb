"""How states, events, guards and effects are called in diagrams and in messages."""

from __future__ import annotations

from enum import Enum

from astra_core.fsm.guards import Guard

__all__ = ["effect_name", "event_name", "guard_name", "state_name"]


def state_name(state: object) -> str:
    """Return the value of a member that holds text, else its name in lower case."""
    if not isinstance(state, Enum):
        return repr(state)
    return state.value if isinstance(state.value, str) else state.name.lower()


def event_name(event: object) -> str:
    """Return the class name of an event type."""
    return event.__name__ if isinstance(event, type) else repr(event)


def guard_name(guard: object) -> str:
    """Return a function's name as words; a lambda has none and is called a guard."""
    if isinstance(guard, Guard):
        return str(guard)
    name = getattr(guard, "__name__", type(guard).__name__)
    return "guard" if name == "<lambda>" else name.strip("_").replace("_", " ")


def effect_name(effect: object) -> str:
    """Return the name of an effect: of a member, of a class or a function, else its text."""
    if isinstance(effect, Enum):
        return state_name(effect)
    return guard_name(effect) if hasattr(effect, "__name__") else str(effect)
