"""The JSON Schema for editors takes what the loader takes, and says of each key what an operator wants to know."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra_core.config import Entry, Layer, json_schema, resolve
from astra_core.errors import ConfigError
from tests.unit.astra_core.config.schemas import Schema

DOCUMENT = json_schema(Schema, title="Settings")
VALIDATOR = jsonschema_rs.Draft202012Validator(DOCUMENT)


class Written:
    """What a file says."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree

    def read(self) -> Layer:
        """Say it."""
        return Layer(
            entries=tuple(Entry(path=(name,), value=value, origin="file") for name, value in self.tree.items())
        )


def is_taken(tree: dict[str, Any]) -> bool:
    """Whether the loader takes a file of this content."""
    try:
        resolve(Schema, [Written(tree)], environment="test")
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(
    ("web", "good"),
    [
        ({}, True),
        ({"patience": "250ms"}, True),
        ({"patience": 3}, True),
        ({"patience": "3 weeks"}, False),
        ({"room": "64MiB"}, True),
        ({"room": "64 apples"}, False),
        ({"room": 2**31}, False),
        ({"port": 70_000}, False),
        ({"host": ""}, False),
        ({"level": "high"}, True),
        ({"level": "middle"}, False),
        ({"names": ["a"]}, True),
        ({"names": []}, False),
        ({"key": None}, True),
        ({"key": "hunter2"}, True),
        ({"on": True}, True),
        ({"on": "perhaps"}, False),
        ({"nonsense": 1}, False),
        (None, True),
    ],
)
def test_it_takes_what_the_loader_takes(web: object, good: bool) -> None:
    """And refuses what the loader refuses."""
    tree: dict[str, Any] = {"web": web}
    assert VALIDATOR.is_valid(tree) is good
    assert is_taken(tree) is good


@given(st.dictionaries(st.sampled_from(["patience", "room"]), st.text("0123456789 .emskMGibBdh-", max_size=8)))
def test_a_time_or_size_that_it_refuses_the_loader_refuses_too(web: dict[str, str]) -> None:
    """Their texts are patterns of their own, so any text is tried; the range that a text means it cannot see."""
    if not VALIDATOR.is_valid({"web": web}):
        assert not is_taken({"web": web})


def test_it_is_a_schema_and_tells_text_default_and_effect() -> None:
    """With units in defaults, and no default of a secret."""
    assert jsonschema_rs.meta.is_valid(DOCUMENT)
    web = DOCUMENT["properties"]["web"]["properties"]
    assert web["patience"]["default"] == "5s"
    assert web["patience"]["description"] == "Wait. Takes effect in the running process."
    assert web["port"]["description"] == "Port. Takes effect with the next start."
    assert web["key"]["writeOnly"] is True
    assert "default" not in web["key"]
    assert msgspec.json.encode(DOCUMENT)
