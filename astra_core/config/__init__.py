"""Settings that are typed, checked whole and frozen: a schema in code, layers of files and variables over it."""

from astra_core.config.describe import Row, describe, markdown
from astra_core.config.explain import Difference, Effective, differences, effective
from astra_core.config.json_schema import json_schema
from astra_core.config.load import folders_of, load
from astra_core.config.reload import Reloader
from astra_core.config.resolve import Loaded, as_loaded, resolve
from astra_core.config.schema import REQUIRED, Key, Problem, Section, hot, keys_of, restart
from astra_core.config.sources import Entry, EnvironmentVariables, File, Layer, SecretFiles, Source
from astra_core.config.units import (
    Duration,
    Secret,
    Size,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from astra_core.config.watch import FolderWatch, WatchedSource, fingerprint, follow_source

__all__ = [
    "REQUIRED",
    "Difference",
    "Duration",
    "Effective",
    "Entry",
    "EnvironmentVariables",
    "File",
    "FolderWatch",
    "Key",
    "Layer",
    "Loaded",
    "Problem",
    "Reloader",
    "Row",
    "Secret",
    "SecretFiles",
    "Section",
    "Size",
    "Source",
    "WatchedSource",
    "as_loaded",
    "describe",
    "differences",
    "effective",
    "fingerprint",
    "folders_of",
    "follow_source",
    "format_duration",
    "format_size",
    "hot",
    "json_schema",
    "keys_of",
    "load",
    "markdown",
    "parse_duration",
    "parse_size",
    "resolve",
    "restart",
]
