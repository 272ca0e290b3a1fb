"""Guards that say what they ask, so that two of one row are proven to exclude each other before anything runs.

A plain function may guard too; what it excludes only shows when it is called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

__all__ = ["Guard", "Question", "compiled", "predicate", "worlds"]

E = TypeVar("E", contravariant=True)
C = TypeVar("C", contravariant=True)


class Guard(Generic[E, C]):
    """A condition made of named questions; `&`, `|` and `~` combine them. Called, it answers like a plain function."""

    def __call__(self, event: E, context: C) -> bool:
        """Whether it holds."""
        return self.compile()(event, context)

    def __and__(self, other: Guard[E, C]) -> Guard[E, C]:
        return _Both(self, other)

    def __or__(self, other: Guard[E, C]) -> Guard[E, C]:
        return _Either(self, other)

    def __invert__(self) -> Guard[E, C]:
        return _Not(self)

    def compile(self) -> Callable[[E, C], bool]:
        """Return a plain function, which costs a call less than the object."""
        raise NotImplementedError

    def atoms(self) -> Iterator[_Case[Any, Any]]:
        """Yield every question with the answer it must have."""
        raise NotImplementedError

    def holds(self, world: Mapping[object, object]) -> bool:
        """Whether it holds where each question has the answer that `world` gives."""
        raise NotImplementedError


@dataclass(frozen=True)
class Question(Generic[E, C]):
    """What one function answers for an event and its context; it has one answer at a time, so its cases exclude."""

    ask: Callable[[E, C], Hashable]

    def case(self, value: Hashable, *, name: str) -> Guard[E, C]:
        """Return the guard that holds when the answer is `value`."""
        return _Case(self.ask, value, name)


def predicate(ask: Callable[[E, C], bool]) -> Guard[E, C]:
    """Return the guard that holds when `ask` says yes, named like it; also a decorator."""
    return _Yes(ask, True, getattr(ask, "__name__", "guard").strip("_").replace("_", " "))


@dataclass(frozen=True)
class _Case(Guard[E, C]):
    ask: Callable[[E, C], Hashable]
    value: Hashable
    name: str = field(compare=False)

    def compile(self) -> Callable[[E, C], bool]:
        ask, value = self.ask, self.value
        return lambda event, context: ask(event, context) == value

    def atoms(self) -> Iterator[_Case[Any, Any]]:
        yield self

    def holds(self, world: Mapping[object, object]) -> bool:
        return world[self.ask] == self.value

    def __str__(self) -> str:
        return self.name


class _Yes(_Case[E, C]):
    """Any answer that Python takes for yes."""

    def compile(self) -> Callable[[E, C], bool]:
        return self.ask  # type: ignore[return-value]

    def holds(self, world: Mapping[object, object]) -> bool:
        return bool(world[self.ask])


@dataclass(frozen=True)
class _Pair(Guard[E, C]):
    left: Guard[E, C]
    right: Guard[E, C]

    def atoms(self) -> Iterator[_Case[Any, Any]]:
        yield from self.left.atoms()
        yield from self.right.atoms()


class _Both(_Pair[E, C]):
    def compile(self) -> Callable[[E, C], bool]:
        left, right = self.left.compile(), self.right.compile()
        return lambda event, context: left(event, context) and right(event, context)

    def holds(self, world: Mapping[object, object]) -> bool:
        return self.left.holds(world) and self.right.holds(world)

    def __str__(self) -> str:
        return f"{_inside(self.left)} and {_inside(self.right)}"


class _Either(_Pair[E, C]):
    def compile(self) -> Callable[[E, C], bool]:
        left, right = self.left.compile(), self.right.compile()
        return lambda event, context: left(event, context) or right(event, context)

    def holds(self, world: Mapping[object, object]) -> bool:
        return self.left.holds(world) or self.right.holds(world)

    def __str__(self) -> str:
        return f"{self.left} or {self.right}"


@dataclass(frozen=True)
class _Not(Guard[E, C]):
    inner: Guard[E, C]

    def compile(self) -> Callable[[E, C], bool]:
        inner = self.inner.compile()
        return lambda event, context: not inner(event, context)

    def atoms(self) -> Iterator[_Case[Any, Any]]:
        return self.inner.atoms()

    def holds(self, world: Mapping[object, object]) -> bool:
        return not self.inner.holds(world)

    def __str__(self) -> str:
        return f"not ({self.inner})" if isinstance(self.inner, _Pair) else f"not {self.inner}"


_OTHER = object()
"""An answer that no guard names."""


def compiled(guard: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return the plain function to call for a guard of either kind."""
    return guard.compile() if isinstance(guard, Guard) else guard


def worlds(guards: list[Guard[Any, Any]]) -> Iterator[dict[object, object]]:
    """Yield every combination of answers that the guards can tell apart."""
    answers: dict[object, list[object]] = {}
    for guard in guards:
        for atom in guard.atoms():
            known = answers.setdefault(atom.ask, [_OTHER])
            known += [answer for answer in _answers_for(atom) if answer not in known]
    for values in product(*answers.values()):
        yield dict(zip(answers, values, strict=True))


def _answers_for(atom: _Case[Any, Any]) -> tuple[object, ...]:
    """Return the answers that tell whether the atom holds, beside any other one, which is taken for yes."""
    return (False,) if isinstance(atom, _Yes) else (atom.value,)


def _inside(guard: Guard[Any, Any]) -> str:
    return f"({guard})" if isinstance(guard, _Either) else str(guard)
