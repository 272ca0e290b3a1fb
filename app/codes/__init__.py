"""Codes: a counter in blocks, a keyed permutation, seven base62 characters. Order hidden, none given out twice."""

from app.codes.errors import CodeKeyMismatch, CodesExhausted
from app.codes.factory import BLOCK, PRIVATE_LENGTH, REGION_CODES, REGIONS, CodeFactory
from app.codes.key import SYSTEM
from app.codes.permutation import CODE_COUNT
from app.codes.scheme import CODE_LENGTH

__all__ = [
    "BLOCK",
    "CODE_COUNT",
    "CODE_LENGTH",
    "PRIVATE_LENGTH",
    "REGIONS",
    "REGION_CODES",
    "SYSTEM",
    "CodeFactory",
    "CodeKeyMismatch",
    "CodesExhausted",
]
