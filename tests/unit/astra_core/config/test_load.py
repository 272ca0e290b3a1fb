"""Layers of files and variables, and every way in which they can be wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astra_core.config import (
    Duration,
    Entry,
    Layer,
    Loaded,
    Problem,
    Secret,
    Section,
    Size,
    describe,
    hot,
    load,
    resolve,
    restart,
)
from astra_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path


class Pool(Section, frozen=True, kw_only=True):
    """A section in a section."""

    size: Annotated[int, hot("Connections.", ge=1, le=9)] = 2
    name: Annotated[str, restart("Name.", pattern="^[a-z]+$")] = "main"


class Web(Section, frozen=True, kw_only=True):
    """A key of each kind."""

    url: Annotated[str, restart("Where.")] = "http://localhost"
    port: Annotated[int, restart("Port.", ge=0, le=65_535)] = 8080
    patience: Annotated[Duration, hot("Wait.", ge=0.1, le=60)] = 5.0
    age: Annotated[Duration, hot("Time.")] = 1.0
    room: Annotated[Size, hot("Bytes.", le=2**30)] = 1024
    ratio: Annotated[float, hot("Part.", ge=0, le=1)] = 0.5
    on: Annotated[bool, hot("Switch.")] = False
    names: Annotated[tuple[str, ...], hot("Names.")] = ("a",)
    level: Annotated[Literal["low", "high"], hot("Level.")] = "low"
    key: Annotated[Secret | None, restart("Key.")] = None
    pool: Pool = msgspec.field(default_factory=Pool)

    def check(self, environment: str) -> Iterable[Problem]:
        """Compare keys with each other and with the environment."""
        if self.port == self.pool.size:
            yield Problem(key="port", text="equals pool.size", others=("pool.size",))
        if environment == "production" and self.url.startswith("http://"):
            yield Problem(key="url", text="must be https in production")


class Schema(Section, frozen=True, kw_only=True):
    """The whole."""

    web: Web = msgspec.field(default_factory=Web)


def folder(root: Path, **files: str | bytes) -> Path:
    """Write `files` (`secrets` for `.secrets`) into a settings folder."""
    for name, text in {"development": "", **files}.items():
        file = root / (".secrets.yaml" if name == "secrets" else f"{name}.yaml")
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def get(root: Path, environ: Mapping[str, str] | None = None, environment: str | None = None) -> Loaded[Schema]:
    """Load the schema above from `root`."""
    return load(Schema, folder=root, environ=environ or {}, environment=environment)


def problems(root: Path, environ: Mapping[str, str] | None = None, environment: str | None = None) -> tuple[str, ...]:
    """Return what is wrong there."""
    with pytest.raises(ConfigError) as caught:
        get(root, environ, environment)
    return caught.value.problems


def without_settings() -> dict[str, str]:
    """Return this process's variables but those that would be keys here."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ASTRA_")}


def refused(load_it: Callable[[], object]) -> tuple[str, ...]:
    """Return the problems of one load, () when it has none; any other error passes on and fails the test."""
    try:
        load_it()
    except ConfigError as error:
        return error.problems
    return ()


def test_later_layers_win_and_each_value_names_its_origin(tmp_path: Path) -> None:
    """default.yaml < environment < secrets < variables, key by key, and origins tell which one it was."""
    root = folder(
        tmp_path,
        default="web: {port: 1, patience: 1s, room: 1KiB, pool: {size: 3}}",
        staging="web: {patience: 2s, room: 2KiB, pool: {name: other}}",
        secrets="web: {room: 3KiB, key: hunter2}",
    )
    loaded = get(root, {"ASTRA_ENV": "staging", "ASTRA_WEB__ROOM": "4KiB"})
    web = loaded.settings.web
    assert (web.port, web.patience, web.room, web.pool.size, web.pool.name) == (1, 2.0, 4096, 3, "other")
    assert web.key == Secret("hunter2")
    assert loaded.environment == "staging"
    assert {key: origin.rpartition("/")[2] for key, origin in loaded.origins.items() if origin != "default"} == {
        "web.port": "default.yaml",
        "web.patience": "staging.yaml",
        "web.room": "ASTRA_WEB__ROOM",
        "web.pool.size": "default.yaml",
        "web.pool.name": "staging.yaml",
        "web.key": ".secrets.yaml",
    }
    assert loaded.origins["web.url"] == "default"


def test_a_list_replaces_the_list_below_it(tmp_path: Path) -> None:
    """Lists of two layers are never joined."""
    root = folder(tmp_path, default="web: {names: [a, b]}", development="web: {names: [c]}")
    assert get(root).settings.web.names == ("c",)


@pytest.mark.parametrize(
    "text",
    [
        "@jinja {{ 6 * 7 }}",
        "@format {env[HOME]}",
        "@read_file /etc/hostname",
        "@int 5",
        "@none",
        "@del",
        "@merge a=b",
        "user@host",
        "true",
        "123",
        "[1]",
        '{"a": 1}',
        "'quoted'",
        "a=b",
        "null",
        "$HOME",
        "{this.X}",
        "@",
    ],
)
def test_a_text_is_taken_as_it_stands(tmp_path: Path, text: str) -> None:
    """No marker, number or bracket in a text means anything, in a file, a secret or a variable."""
    root = folder(tmp_path, default=f"web: {{url: {text!r}, key: {text!r}, names: [{text!r}]}}".replace("\\'", "''"))
    if "'" not in text:
        web = get(root).settings.web
        assert (web.url, web.names) == (text, (text,))
        assert web.key == Secret(text)
    web = get(folder(tmp_path, default=""), {"ASTRA_WEB__URL": text, "ASTRA_WEB__KEY": text}).settings.web
    assert web.url == text
    assert web.key == Secret(text)


def test_variables_of_dynaconf_itself_change_nothing(tmp_path: Path) -> None:
    """A process full of dynaconf's own switches, and files it would find by itself, load the same settings."""
    root = folder(tmp_path, default="web: {port: 1}", **{"default.local": "web: {port: 2}", "other": "web: {port: 3}"})
    (tmp_path / ".env").write_text("ASTRA_WEB__PORT=4\nDYNACONF_WEB__PORT=5\n")
    code = (
        "import os\nfrom pathlib import Path\n"
        "import tests.unit.astra_core.config.test_load as t\n"
        f"print(t.get(Path({str(root)!r}), os.environ).settings.web.port)"
    )
    switches = {
        "PRELOAD_FOR_DYNACONF": f"['{root}/other.yaml']",
        "INCLUDES_FOR_DYNACONF": f"['{root}/other.yaml']",
        "SETTINGS_FILE_FOR_DYNACONF": f"{root}/other.yaml",
        "LOAD_DOTENV_FOR_DYNACONF": "true",
        "DOTENV_PATH_FOR_DYNACONF": str(root / ".env"),
        "MERGE_ENABLED_FOR_DYNACONF": "true",
        "ENVIRONMENTS_FOR_DYNACONF": "true",
        "DYNACONF_WEB__PORT": "6",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**without_settings(), **switches},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("1", 0), done.stderr


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("PORT", " 1_000 ", 1000),
        ("PATIENCE", "250ms", 0.25),
        ("PATIENCE", "3", 3.0),
        ("ROOM", "1MiB", 2**20),
        ("RATIO", "1", 1.0),
        ("ON", "true", True),
        ("ON", "0", False),
        ("NAMES", "a, b,", ("a", "b")),
        ("NAMES", '["a,b"]', ("a,b",)),
        ("NAMES", "", ()),
        ("LEVEL", "high", "high"),
        ("KEY", "", None),
    ],
)
def test_a_variable_is_read_by_the_type_of_its_key(tmp_path: Path, variable: str, text: str, value: object) -> None:
    """The schema decides what a text means, so `123` is a number for a number and a text for a text."""
    web = get(folder(tmp_path), {f"ASTRA_WEB__{variable}": text}).settings.web
    assert getattr(web, variable.lower()) == value


def test_every_problem_is_reported_at_once_with_place_and_remedy(tmp_path: Path) -> None:
    """Files, variables and checks between keys all speak in one error, each line whole."""
    root = folder(
        tmp_path,
        default="web:\n  port: 70000\n  on: maybe\n  levl: low\n  pool:\n    size: 0\n",
        production="wbe: {port: 1}\nweb:\n  patience: 5 minutes\n",
    )
    wait = "5 minutes"
    found = problems(root, {"ASTRA_WEB__ROOM": "2GiB", "ASTRA_WEB__PROT": "1", "ASTRA_WEB_URL": "x"}, "production")
    default, production = f"{root}/default.yaml", f"{root}/production.yaml"
    assert found == (
        f"web.port ({default}:2): must be a whole number from 0 to 65535, not 70000",
        f"web.on ({default}:3): must be true or false, not 'maybe'",
        f"web.levl ({default}:4): unknown key; did you mean web.level?",
        f"web.pool.size ({default}:6): must be a whole number from 1 to 9, not 0",
        f"wbe ({production}:1): unknown key; did you mean web?",
        f"web.patience ({production}:3): must be a duration such as 250ms, 5s or 24h, from 100ms to 1m, not {wait!r}",
        "web_url (ASTRA_WEB_URL): unknown key; did you mean ASTRA_WEB__URL?",
        "web.prot (ASTRA_WEB__PROT): unknown key; did you mean ASTRA_WEB__PORT?",
        "web.room (ASTRA_WEB__ROOM): must be a size such as 64MiB or 10KB, from 0B to 1GiB, not '2GiB'",
        "web.url (default): must be https in production",
    )


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("web: {Port: 1}", "did you mean web.port?"),
        ("web: {x: 1}", "remove it; known here: url, port, patience"),
        ("web: {pool_length: 1}", "remove it; known here: url, port, patience"),
        ("web: {pool: {x: 1}}", "remove it; known here: size"),
        ("wbe: {x: 1}", "did you mean web?"),
        ("wholly: {different: 1}", "remove it; known here: web"),
        ("web: {size: 1}", "did you mean web.pool.size?"),
        ("port: 1", "did you mean web.port?"),
        ("web.port: 1", "write it nested"),
        ("web: 5", "is a section"),
        ("web: {pool: [1]}", "is a section"),
        ("web: {port: }", "not null"),
        ("web: {port: '80'}", "must be a whole number"),
        ("web: {port: true}", "must be a whole number"),
        ("web: {patience: .nan}", "must be a duration"),
        ("web: {patience: .inf}", "must be a duration"),
        ("web: {patience: -1}", "must be a duration"),
        ("web: {age: -1}", "must be a duration such as 250ms, 5s or 24h, at least 0s, not -1"),
        ("web: {age: .nan}", "must be a duration"),
        ("web: {age: .inf}", "must be a duration"),
        ("web: {room: -1}", "must be a size"),
        ("web: {ratio: .nan}", "must be a number"),
        ("web: {names: a}", "must be a list"),
        ("web: {names: [a, 1]}", "must be a list (item 2 is none of its kind), not"),
        ("web: {pots: 1}", "did you mean web.port?"),
        ("web: {pool: {names: 1}}", "did you mean web.pool.name?"),
        ("web: {level: LOW}", "one of low, high"),
        ("web: {zzzzz: 1}", "known here: url, port, patience"),
        ("1: 2", "unknown key"),
        ("- web", "must hold sections"),
    ],
)
def test_a_value_that_does_not_fit_says_what_would(tmp_path: Path, yaml: str, said: str) -> None:
    """Wrong types, ranges and names are refused, each with the remedy; files are strict about types."""
    [problem] = problems(folder(tmp_path, default=yaml))
    assert said in problem
    assert "default.yaml:1)" in problem or "default.yaml:1:" in problem


def test_a_name_below_a_key_is_refused_with_how_the_key_is_written(tmp_path: Path) -> None:
    """A variable or a file that goes on below a key that is no section is named; a list is written as one."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "web.pool.size.x").write_text("1")
    environ = {"ASTRA_WEB__PORT__X__Y": "1", "ASTRA_WEB__NAMES__0": "x", "ASTRA_SECRETS": str(secrets)}
    size, names, port = problems(folder(tmp_path), environ)
    assert size == (
        f"web.pool.size.x ({secrets}/web.pool.size.x): unknown key; "
        "web.pool.size holds no keys but a whole number from 1 to 9: write web.pool.size"
    )
    assert names == (
        "web.names.0 (ASTRA_WEB__NAMES__0): unknown key; "
        "web.names holds no keys but a list: write ASTRA_WEB__NAMES, all its items between commas"
    )
    assert port.endswith("web.port holds no keys but a whole number from 0 to 65535: write ASTRA_WEB__PORT")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("web:\n  port: [\n", "default.yaml:2: broken YAML"),
        ("web:\n\tport: 1\n", "default.yaml:2: broken YAML"),
        ("web:\n  port: 1\n  port: hunter2\n", "default.yaml:3: a key is written twice"),
        ("web: {x: 1}\n1: a\ntrue: b\n", "default.yaml:3: a number, true, false or null cannot be a key"),
        ("a: 1\n---\nb: 2\n", "default.yaml:2: broken YAML"),
        ("web: !!python/object:os.system hunter2\n", "default.yaml:1: broken YAML"),
        ("web: *hunter\n", "default.yaml:1: broken YAML"),
        ("web: 2020-13-01\n", "broken YAML"),
        ("web: " + "[" * 3000, "nested too deep"),
        (b"web: 1\n# \xff\n", "default.yaml:2: is not UTF-8"),
        (b"web: \x01\n", "broken YAML"),
    ],
)
def test_a_broken_file_names_its_line_and_not_its_content(tmp_path: Path, content: str | bytes, said: str) -> None:
    """The line is named; what stands in it is not, for it may be a secret."""
    [problem] = problems(folder(tmp_path, default=content))
    assert said in problem
    assert "hunter" not in problem


@pytest.mark.parametrize(
    "content", ["", "\n", "# only a comment\n", "---\n", "web:\n", "web:\n  pool:\n", b"\xef\xbb\xbfweb:\n"]
)
def test_an_empty_file_or_section_says_nothing(tmp_path: Path, content: str | bytes) -> None:
    """A file or a section whose lines are all comments leaves the defaults."""
    assert get(folder(tmp_path, default=content)).settings == Schema()


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """A folder in the place of a file is named, not a traceback."""
    (tmp_path / "default.yaml").mkdir()
    [problem] = problems(tmp_path)
    assert problem == f"{tmp_path}/default.yaml: is a folder; name the files in it"


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    """Neither settings, origins nor problems hold a secret, not even when its value is wrong or in the wrong place."""
    root = folder(tmp_path, secrets="web: {key: hunter2}")
    assert "hunter2" not in repr(get(root))
    root = folder(
        tmp_path, default="web: {key: [hunter2]}", secrets="web: {port: hunter2, hunt: hunter2, pool: hunter2}"
    )
    found = problems(root)
    assert len(found) == 4
    assert "hunter2" not in repr(found)


def test_a_folder_that_was_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By argument or variable it is an error; the default folder may be missing, then the defaults serve alone."""
    missing = tmp_path / "nowhere"
    with pytest.raises(ConfigError, match="is not there"):
        load(Schema, folder=missing, environ={})
    with pytest.raises(ConfigError, match="is not there"):
        load(Schema, environ={"ASTRA_SETTINGS": str(missing)})
    monkeypatch.chdir(tmp_path)
    loaded = load(Schema, environ={"ASTRA_WEB__PORT": "5", "ASTRA_SETTINGS": "", "ASTRA_ENV": ""})
    assert (loaded.settings.web.port, loaded.environment) == (5, "development")
    with pytest.raises(ConfigError, match="did you mean staging"):
        load(Schema, environ={"ASTRA_ENV": "stagin"}, environments=["staging"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("prodution", "did you mean production?"),
        ("zz", "known: development, production"),
        ("default", "known"),
        ("../x", "no file"),
        (".secrets", "no file"),
        ("PRODUCTION", "did you mean production?"),
    ],
)
def test_an_unknown_environment_is_refused(tmp_path: Path, name: str, said: str) -> None:
    """A name without a file is never taken as an environment without settings."""
    [problem] = problems(folder(tmp_path, production=""), {"ASTRA_ENV": name})
    assert said in problem


def test_a_variable_is_written_in_upper_case(tmp_path: Path) -> None:
    """Two variables can never mean one key; the right spelling is named."""
    [problem] = problems(folder(tmp_path), {"ASTRA_web__port": "1", "ASTRA_WEB__PORT": "3"})
    assert problem == "WEB.PORT (ASTRA_web__port): unknown key; did you mean ASTRA_WEB__PORT?"


def test_a_text_that_ends_like_a_file_name_is_still_a_text(tmp_path: Path) -> None:
    """A file without a last line feed whose last word is `a.yaml` is read as itself."""
    assert get(folder(tmp_path, default="web:\n  url: a.yaml")).settings.web.url == "a.yaml"


def test_the_variables_that_kubernetes_adds_are_no_keys(tmp_path: Path) -> None:
    """A Service named like the prefix fills every pod with variables; they are not mistaken for settings."""
    environ = {
        "ASTRA_SERVICE_HOST": "10.0.0.1",
        "ASTRA_SERVICE_PORT": "80",
        "ASTRA_SERVICE_PORT_HTTP": "80",
        "ASTRA_PORT": "tcp://10.0.0.1:80",
        "ASTRA_PORT_80_TCP": "tcp://10.0.0.1:80",
        "ASTRA_PORT_80_TCP_ADDR": "10.0.0.1",
        "ASTRA_WEB_PORT": "tcp://10.0.0.1:80",
        "OTHER_WEB__PORT": "1",
        "ASTRAL_WEB__PORT": "1",
    }
    assert get(folder(tmp_path), environ).settings == Schema()
    [problem] = problems(folder(tmp_path), {"ASTRA_WEB_PORT": "80"})
    assert "ASTRA_WEB__PORT" in problem
    with pytest.raises(ConfigError, match="unknown"):
        load(Schema, folder=tmp_path, environ={"ASTRA_TOKEN": "1"})
    assert load(Schema, folder=tmp_path, environ={"ASTRA_TOKEN": "1"}, ignore=["ASTRA_TOKEN"]).settings == Schema()


def test_the_checksum_follows_the_effective_values(tmp_path: Path) -> None:
    """It is the same wherever values come from, and moves with any of them, secrets included."""
    base = get(folder(tmp_path)).checksum
    assert get(folder(tmp_path), {"ASTRA_WEB__PORT": "8080"}).checksum == base
    assert get(folder(tmp_path, default="web: {patience: 5000ms}")).checksum == base
    others = [
        get(tmp_path, {name: text}).checksum for name, text in [("ASTRA_WEB__PORT", "1"), ("ASTRA_WEB__KEY", "a")]
    ]
    others.append(get(tmp_path, {"ASTRA_WEB__KEY": "b"}).checksum)
    assert len({base, *others}) == 4


def test_a_check_between_keys_is_left_out_when_one_of_them_is_wrong_already(tmp_path: Path) -> None:
    """No problem is reported that only follows from another."""
    assert len(problems(folder(tmp_path, default="web: {port: 2}"))) == 1
    [problem] = problems(folder(tmp_path, default="web: {port: 2, pool: {size: x}}"))
    assert problem.startswith("web.pool.size")


def test_a_check_between_keys_names_both_places_and_what_stands_there(tmp_path: Path) -> None:
    """File and line of each, and both values, but for those that come from where secrets are."""
    folder(tmp_path, default="web:\n  on: true\n  pool: {size: 7}\n", development="# x\nweb: {port: 7}\n")
    first, second = tmp_path / "development.yaml", tmp_path / "default.yaml"
    assert problems(tmp_path) == (f"web.port ({first}:2): equals pool.size; it is 7, web.pool.size is 7 ({second}:3)",)
    assert problems(tmp_path, {"ASTRA_WEB__POOL__SIZE": "7"})[0].endswith("web.pool.size is 7 (ASTRA_WEB__POOL__SIZE)")
    folder(tmp_path, secrets="web: {port: 7}\n")
    assert problems(tmp_path) == (f"web.port ({tmp_path / '.secrets.yaml'}:1): equals pool.size",)


def test_a_bad_value_is_reported_even_when_a_later_layer_covers_it(tmp_path: Path) -> None:
    """A file that is wrong is wrong in every environment."""
    [problem] = problems(folder(tmp_path, default="web: {port: x}"), {"ASTRA_WEB__PORT": "1"})
    assert "default.yaml" in problem


class Needy(Section, frozen=True, kw_only=True):
    """A key that has no default."""

    must: Annotated[int, restart("Needed.", ge=1)]


def test_a_key_without_default_must_be_given() -> None:
    """Its problem names what it takes; a source of any kind may give it."""

    class Fixed:
        def __init__(self, value: object) -> None:
            self.value = value

        def read(self) -> Layer:
            return Layer(entries=(Entry(path=("must",), value=self.value, origin="cluster"),))

    with pytest.raises(ConfigError, match=r"must \(nowhere set\): is required: a whole number at least 1"):
        resolve(Needy, [], environment="test")
    loaded = resolve(Needy, [Fixed(1), Fixed(2)], environment="test")
    assert (loaded.settings.must, loaded.origins["must"]) == (2, "cluster")
    with pytest.raises(ConfigError, match=r"must \(cluster\)"):
        resolve(Needy, [Fixed("x")], environment="test")


def test_describe_tells_type_default_range_and_effect() -> None:
    """Each key's row is read from its annotation."""
    rows = {row.key: row for row in describe(Schema)}
    assert rows["web.patience"].range == "from 100ms to 1m"
    assert rows["web.patience"].default == "`5s`"
    assert (rows["web.patience"].effect, rows["web.port"].effect) == ("hot", "restart")
    assert rows["web.level"].type == "one of `low`, `high`"
    assert rows["web.key"].type == "secret, or null"
    assert rows["web.pool.size"].doc == "Connections."
    assert describe(Needy)[0].default == "required"


def test_loading_leaves_dynaconf_alone_until_it_is_needed() -> None:
    """Importing the package reads nothing: dynaconf, which reads the process's variables, is not loaded by it."""
    code = "import sys, astra_core.config; sys.exit('dynaconf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5)
names = st.sampled_from(["web", "pool", "port", "key", "names", "patience", "room", "level", ""]) | st.text(max_size=9)
junk = st.recursive(
    scalars,
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(names | scalars.filter(lambda v: v == v), inside, max_size=4)
    ),
    max_leaves=12,
)


@given(tree=st.dictionaries(names, junk, max_size=4), text=st.booleans(), masked=st.booleans())
def test_any_mapping_of_junk_is_settings_or_a_config_error(tree: dict[str, Any], text: bool, masked: bool) -> None:
    """Nothing that a source can say raises anything but ConfigError, and every problem is one printable line."""

    class Junk:
        def read(self) -> Layer:
            entries = tuple(Entry(path=(key,), value=value, origin="junk") for key, value in tree.items())
            return Layer(entries=entries, text=text, masked=masked)

    assert all(problem.isprintable() for problem in refused(lambda: resolve(Schema, [Junk()], environment="test")))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60) | st.text(alphabet="web:port{}[]&*!|>-'\"@#%\n\t 1,?<", max_size=40).map(str.encode)
)
def test_any_bytes_in_a_file_are_settings_or_a_config_error(tmp_path: Path, content: bytes) -> None:
    """A file of any content is read or refused, never a traceback."""
    assert all("default.yaml" in problem for problem in refused(lambda: get(folder(tmp_path, default=content))))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    environ=st.dictionaries(
        st.sampled_from(
            ["WEB", "WEB__PORT", "WEB__KEY", "WEB__NAMES", "WEB__LEVEL", "WEB__PATIENCE", "WEB__POOL__SIZE"]
        ).flatmap(lambda name: st.sampled_from(["", "__X", "__0__X"]).map(name.__add__))
        | st.text(max_size=8).filter(lambda name: name not in ("ENV", "SETTINGS")),
        st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=()), max_size=12),
        max_size=4,
    )
)
def test_any_variables_are_settings_or_a_config_error(tmp_path: Path, environ: dict[str, str]) -> None:
    """Variables of any name and text, bytes that are no UTF-8 included, are read or refused."""
    assert all(
        problem.isprintable()
        for problem in refused(lambda: get(folder(tmp_path), {f"ASTRA_{name}": text for name, text in environ.items()}))
    )
