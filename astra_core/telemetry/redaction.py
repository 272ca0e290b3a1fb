"""Secrets are hidden before a line is written: by the name of a field, and by what a text looks like.

Names are compared without case and without `-`, `_`, `.` and spaces, and anywhere within the name: `X-Api-Key` and
`stripe_apikey_old` are both hidden. Every pattern takes time that grows with the text and no faster: what repeats
without a bound is possessive, or begins at a place that no other attempt can begin at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HIDDEN", "NAMES", "PATTERNS", "Redactor"]

HIDDEN = "***"

NAMES = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "authorization",
    "cookie",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "idempotencykey",
    "keymaterial",
    "credential",
    "signature",
    "session",
    "jwt",
)
"""Fields that are never shown, in the form that names are compared in."""

_WORDS = (
    r"(?:password|passwd|passphrase|pwd|secret|token|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|signing[-_ ]?key"
    r"|encryption[-_ ]?key|idempotency[-_ ]?key|key[-_ ]?material|credential|signature|session|jwt"
    r"|authorization|cookie)"
)
_IS = r"""(?:\\{0,3}["']?\s{0,4}(?:[:=]|%3[dD])|\\{0,3}["'],)\s{0,4}"""
_VALUE = r"""[bBrRuU]{0,2}(?:"(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?|\\["'][^"'\\]*+|[^\s&;,"'<>()\[\]{}\\]++)"""

PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"(?<=://)[^\s/?#\"'<>]++(?<=@)"), HIDDEN + "@"),
    (re.compile(r"(?<=://)[^\s/?#\"'<>@]*+@(?:[^\s/?#\"'<>@]*+@)*+"), HIDDEN + "@"),
    (re.compile(r"(?i)((?:authorization|cookie)\s{0,4}[:=]\s{0,4})(?![\s\"'])[^\r\n\"']++"), r"\g<1>" + HIDDEN),
    (re.compile(rf"(?is)({_WORDS}[a-z0-9_-]{{0,32}}{_IS}){_VALUE}"), r"\g<1>" + HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic|digest)(\s{1,8})[a-z0-9._~+/=:-]{6,}+"), r"\g<1>\g<2>" + HIDDEN),
    (re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{4,}+(?:\.[A-Za-z0-9_-]*+)?"), HIDDEN),
    (re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])"), HIDDEN),
    (
        re.compile(r"(?<![A-Za-z0-9_-])(?:gh[pousr]_|github_pat_|xox[abprs]-|[sr]k[-_])[A-Za-z0-9_-]{16,}+"),
        HIDDEN,
    ),
    (re.compile(rf"(?i)(key{_IS}[\"']?)[a-z0-9+/_-]{{20,}}+={{0,2}}"), r"\g<1>" + HIDDEN),
)
"""What is replaced in texts, in this order. A pattern of yours must take linear time too."""

_NEEDLES: dict[re.Pattern[str], tuple[str, ...]] = dict(
    zip(
        (pattern for pattern, _ in PATTERNS),
        (
            ("-----begin",),
            ("://",),
            ("://",),
            ("authorization", "cookie"),
            (
                *("pass", "pwd", "secret", "token", "key", "credential", "signature", "session", "jwt"),
                *("authorization", "cookie"),
            ),
            ("bearer", "basic", "digest"),
            ("eyj",),
            ("akia", "asia", "aroa", "aida"),
            ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox", "sk-", "sk_", "rk-", "rk_"),
            ("key",),
        ),
        strict=True,
    )
)
"""What a text without regard to case must hold for a pattern to find anything: a look for it costs a hundredth."""
_KEPT = 1024
_IGNORED = str.maketrans("", "", "-_. ")


class Redactor:
    """Hides secrets. `names` as in `NAMES`; `patterns` with what stands in their place."""

    def __init__(
        self, *, names: Iterable[str] = NAMES, patterns: Iterable[tuple[re.Pattern[str], str]] = PATTERNS
    ) -> None:
        self._names = tuple(name.lower().translate(_IGNORED) for name in names)
        self._patterns = tuple((pattern, instead, _NEEDLES.get(pattern, ("",))) for pattern, instead in patterns)
        self._needles = tuple(dict.fromkeys(needle for _, _, needles in self._patterns for needle in needles))
        self._known: dict[str, bool] = {}

    def hides(self, name: str) -> bool:
        """Return whether a field called `name` is never shown. Answers are kept, for a bounded number of names."""
        known = self._known.get(name)
        if known is None:
            plain = name.lower().translate(_IGNORED)
            known = any(each in plain for each in self._names)
            if len(self._known) < _KEPT and len(name) <= _KEPT:
                self._known[name] = known
        return known

    def suspects(self, text: str) -> bool:
        """Return whether a pattern might find anything in `text`; False is certain, and quick for many texts as one."""
        plain = text.lower() if text.isascii() else text.casefold()
        return any(needle in plain for needle in self._needles)

    def text(self, text: str) -> str:
        """Return `text` with `***` in place of every secret that a pattern finds."""
        plain = text.lower() if text.isascii() else text.casefold()
        for pattern, instead, needles in self._patterns:
            for needle in needles:
                if needle in plain:
                    text = pattern.sub(instead, text)
                    break
        return text
