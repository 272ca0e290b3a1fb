"""YAML, JSON and TOML say the same; secrets come as files; old keys are told their new names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from astra_core.config import Entry, Layer, Loaded, Secret, load
from astra_core.errors import ConfigError
from tests.unit.astra_core.config.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from astra_core.config import Source

TEXTS = {
    "yaml": "web:\n  port: 1000\n  patience: 2s\n  names: [x, y]\n  ratio: 0.125\n  on: true\n",
    "yml": "web: {port: 1000, patience: 2s, names: [x, y], ratio: 0.125, on: true}",
    "json": json.dumps({"web": {"port": 1000, "patience": "2s", "names": ["x", "y"], "ratio": 0.125, "on": True}}),
    "toml": '[web]\nport = 1000\npatience = "2s"\nnames = ["x", "y"]\nratio = 0.125\non = true\n',
}


def get(root: Path, environ: Mapping[str, str] | None = None, above: Sequence[Source] = ()) -> Loaded[Schema]:
    """Load the schema from `root`."""
    return load(Schema, folder=root, environ=environ or {}, above=above)


def problems(root: Path, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return what is wrong there."""
    with pytest.raises(ConfigError) as caught:
        get(root, environ)
    return caught.value.problems


def write(root: Path, **files: str) -> Path:
    """Write files, their names' first underscore being the dot; `development` is there in any case."""
    for name, text in {"development_yaml": "", **files}.items():
        (root / name.replace("_", ".", 1)).write_text(text)
    return root


@pytest.mark.parametrize("language", TEXTS)
def test_each_language_says_the_same(tmp_path: Path, language: str) -> None:
    """A file of any of them, by the end of its name, and its name is the origin of what it says."""
    loaded = get(write(tmp_path, **{f"default_{language}": TEXTS[language]}))
    web = loaded.settings.web
    assert (web.port, web.patience, web.names, web.ratio, web.on) == (1000, 2.0, ("x", "y"), 0.125, True)
    assert loaded.origins["web.port"] == str(tmp_path / f"default.{language}")


def test_languages_mix_and_the_order_of_layers_holds(tmp_path: Path) -> None:
    """default < environment < .secrets, each in a language of its own."""
    write(
        tmp_path,
        default_toml="[web]\nport = 1000\nroom = 1\nratio = 0.1\n",
        development_yaml="",
    )
    (tmp_path / "development.yaml").unlink()
    (tmp_path / "development.json").write_text('{"web": {"room": "2KiB", "ratio": 0.2}}')
    (tmp_path / ".secrets.yaml").write_text("web: {ratio: 0.3, key: hunter2}")
    web = get(tmp_path).settings.web
    assert (web.port, web.room, web.ratio, web.key) == (1000, 2048, 0.3, Secret("hunter2"))


def test_two_files_for_the_same_are_refused(tmp_path: Path) -> None:
    """Which of them an operator means cannot be known."""
    (problem,) = problems(write(tmp_path, default_yaml="", default_toml=""))
    assert problem.endswith("default.toml and default.yaml stand for the same; keep one of them")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("default.toml", "[web]\nport = 1\nport = 2\n", "default.toml:3: broken TOML"),
        ("default.toml", "[web]\nport = = 2\n", "default.toml:2: broken TOML"),
        ("default.json", '{"web": {\n"port": 1,,\n}}', "default.json:2: broken JSON"),
        ("default.json", '{"web": {"port": 1, "port": 2}}', "default.json: a key is written twice"),
        ("default.json", "[1]", "default.json:1: must hold sections"),
        ("default.json", "{" + '"a":{' * 5_000, "default.json"),
    ],
)
def test_a_broken_file_names_its_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    """Where the parser knows it, in the language of the file, and its content stays out."""
    write(tmp_path)
    (tmp_path / name).write_text(text)
    (problem,) = problems(tmp_path)
    assert said in problem


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("default.toml", '# x\n[web]\n\npatience = "soon"\n', 4),
        ("default.toml", 'web.patience = "soon"\n', 1),
        ("default.toml", '\nweb = { patience = "soon" }\n', 2),
        ("default.json", '{\n"web": {\n"patience": "soon"}}', 3),
        ("default.yaml", "web:\n  patience: soon\n", 2),
    ],
)
def test_a_bad_value_names_its_line_in_each_language(tmp_path: Path, name: str, text: str, line: int) -> None:
    """The nearest that the language lets one know."""
    write(tmp_path)
    (tmp_path / name).write_text(text)
    (problem,) = problems(tmp_path)
    assert f"{name}:{line})" in problem
    assert "a duration such as" in problem


def test_secrets_come_as_files_one_a_key(tmp_path: Path) -> None:
    """As Kubernetes mounts them: the name is the key, the line feed at the end is not part of the value."""
    root, secrets = write(tmp_path, default_yaml="web: {key: from the file, ratio: 0.1}"), tmp_path / "mounted"
    (secrets / "..v1").mkdir(parents=True)
    (secrets / "..v1" / "web.key").write_text("hunter2\n")
    (secrets / "..data").symlink_to("..v1")
    (secrets / "web.key").symlink_to("..data/web.key")
    (secrets / "web.ratio").write_text("0.75")
    environ = {"ASTRA_SECRETS": str(secrets)}
    loaded = get(root, environ)
    assert loaded.settings.web.key == Secret("hunter2")
    assert loaded.settings.web.ratio == 0.75
    assert loaded.origins["web.key"] == str(secrets / "web.key")
    assert get(root, {**environ, "ASTRA_WEB__RATIO": "0.5"}).settings.web.ratio == 0.5


def test_what_is_wrong_with_a_mounted_secret_does_not_show_it(tmp_path: Path) -> None:
    """A key that does not exist, and one that cannot hold the value, by the names of their files."""
    root, secrets = write(tmp_path), tmp_path / "mounted"
    secrets.mkdir()
    (secrets / "web.kee").write_text("hunter2")
    (secrets / "web.patience").write_text("hunter3")
    (secrets / "web.key").write_bytes(b"\xff")
    found = problems(root, {"ASTRA_SECRETS": str(secrets)})
    assert found == (f"{secrets}/web.key: is not UTF-8",)
    (secrets / "web.key").unlink()
    found = problems(root, {"ASTRA_SECRETS": str(secrets)})
    assert [problem.partition(":")[0] for problem in found] == [
        f"web.kee ({secrets}/web.kee)",
        f"web.patience ({secrets}/web.patience)",
    ]
    assert "hunter" not in str(found)


def test_a_secrets_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """Someone named it, so something was to be in it."""
    (problem,) = problems(write(tmp_path), {"ASTRA_SECRETS": str(tmp_path / "none")})
    assert problem == f"secrets folder '{tmp_path}/none': cannot be read: No such file or directory"


def test_a_watched_source_wins_over_all(tmp_path: Path) -> None:
    """What a cluster decides holds whatever a machine's variables say."""

    class Cluster:
        """A source beyond this machine."""

        def read(self) -> Layer:
            """Say one thing."""
            return Layer(entries=(Entry(path=("web", "ratio"), value=0.875, origin="the cluster"),))

    loaded = get(write(tmp_path), {"ASTRA_WEB__RATIO": "0.5"}, [Cluster()])
    assert loaded.settings.web.ratio == 0.875
    assert loaded.origins["web.ratio"] == "the cluster"


@pytest.mark.parametrize(
    ("files", "environ", "said"),
    [
        (
            {"default_yaml": "web:\n  timeout: 5s\n"},
            {},
            "web.timeout ({root}/default.yaml:2): is called web.patience now; write that instead",
        ),
        (
            {},
            {"ASTRA_WEB__TIMEOUT": "5s"},
            "web.timeout (ASTRA_WEB__TIMEOUT): is called ASTRA_WEB__PATIENCE now; write that instead",
        ),
        (
            {"default_yaml": "web: {threads: 4}"},
            {},
            "web.threads ({root}/default.yaml:1): is no longer a setting (there are none any more); remove it",
        ),
        (
            {"default_yaml": "web: {ration: 1}"},
            {},
            "web.ration ({root}/default.yaml:1): unknown key; did you mean web.ratio?",
        ),
    ],
)
def test_an_old_key_is_told_what_to_write_instead(
    tmp_path: Path, files: Mapping[str, str], environ: Mapping[str, str], said: str
) -> None:
    """In the way that its own source is written; a key that never was gets the nearest that is."""
    (problem,) = problems(write(tmp_path, **files), environ)
    assert problem == said.format(root=tmp_path)
