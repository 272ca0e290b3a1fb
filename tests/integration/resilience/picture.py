"""The simulation as a picture: calls a second that reach the dependency, written as SVG by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.resilience.simulation import Outcome

__all__ = ["draw"]

_WIDTH, _HEIGHT = 980, 400
_LEFT, _RIGHT, _TOP, _BASE = 64, 20, 60, 356
_FONT = 'font-family="system-ui, sans-serif" font-size="14"'
_LINES = {
    "retries alone": ("#cf222e", ""),
    "no policy": ("#57606a", ' stroke-dasharray="5 4"'),
    "retries + budget + breaker": ("#0969da", ""),
}
"""Drawn in this order, the last on top."""


def draw(outcomes: dict[str, Outcome]) -> str:
    """A line for each scenario that has a colour, over the time in which the dependency was down."""
    setting = next(iter(outcomes.values())).setting
    rates = {name: outcomes[name].rates() for name in _LINES}
    highest = 500.0 * (1 + max(map(max, rates.values())) // 500)

    def x(seconds: float) -> float:
        return round(_LEFT + seconds / setting.ends_at * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(rate: float) -> float:
        return round(_BASE - rate / highest * (_BASE - _TOP), 1)

    down = x(setting.returns_at) - x(setting.fails_at)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
        f"<title>{setting.clients:,} clients: calls a second that reach a dependency which is down for a while</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<rect x="{x(setting.fails_at)}" y="{_TOP}" width="{down:.1f}" height="{_BASE - _TOP}" fill="#ffebe9"/>',
        f'<text x="{x(setting.fails_at) + 8}" y="{_TOP + 18}" fill="#82071e">dependency down</text>',
        *_axes(x, y, highest, setting.ends_at),
    ]
    for place, (name, (colour, dash)) in enumerate(_LINES.items()):
        points = " ".join(f"{x(second + 0.5)},{y(rate)}" for second, rate in enumerate(rates[name]))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        left = _LEFT + place * 270
        parts.append(f'<path d="M{left} 25h28" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{left + 36}" y="30" fill="#1f2328">{name}: {len(outcomes[name].calls):,} calls</text>')
    return "\n  ".join(parts) + "\n</svg>\n"


def _axes(x: Callable[[float], float], y: Callable[[float], float], highest: float, end: float) -> list[str]:
    lines = []
    for rate in range(0, int(highest) + 1, 500):
        lines.append(f'<path d="M{_LEFT} {y(rate)}H{_WIDTH - _RIGHT}" stroke="#d0d7de"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{y(rate) + 5}" text-anchor="end" fill="#57606a">{rate:,}</text>')
    lines.extend(
        f'<text x="{x(second)}" y="{_BASE + 22}" text-anchor="middle" fill="#57606a">{second} s</text>'
        for second in range(0, int(end) + 1, 15)
    )
    lines.append(f'<text x="{_LEFT - 56}" y="{_TOP - 8}" fill="#57606a" font-size="12">calls a second</text>')
    return lines
