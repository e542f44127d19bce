"""The Dockerfile, without building it. tests/integration/test_helm.py builds and runs it."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tests.documents import ROOT
from tests.lab import dockerfile, operator_image, python_base


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_its_python_is_the_oldest_that_we_support() -> None:
    """What runs in clusters is what a desk may have, and the lab has a stand-in for it."""
    found = {python_base.version(stage.base) for stage in operator_image.stages()}
    assert {f">={version}" for version in found} == {project()["project"]["requires-python"]}


def test_everything_that_makes_the_wheel_is_copied() -> None:
    """The package, what is put beside it, and the page that describes it; all of it is there."""
    copied = dockerfile.sources(operator_image.stages())
    assert [source for source in copied if not (ROOT / source).exists()] == []
    wheel = project()["tool"]["hatch"]["build"]["targets"]["wheel"]
    parts = [*wheel["packages"], *wheel["force-include"], project()["project"]["readme"]]
    assert {part.partition("/")[0] for part in parts} < set(copied)


def test_every_dependency_is_locked() -> None:
    """--no-deps installs what requirements.txt names, and nothing else."""
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    wanted = [re.split(r"[<>=]", line)[0] for line in project()["project"]["dependencies"]]
    assert set(wanted) <= set(locked)


def test_stages_and_configuration() -> None:
    """Arguments, continued lines, comments, environment upon environment, both kinds of COPY."""
    text = """
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
# not this
COPY a b ./
RUN one \\
 && two
FROM ${BASE}
ENV PATH=/opt:$PATH A="b c"
LABEL x=1 \\
      y=2
COPY --from=build /src /dst
WORKDIR /w
USER 1:2
ENTRYPOINT ["e"]
CMD ["c"]
"""
    build, final = dockerfile.parse(text)
    assert (build.base, build.name, final.name) == ("python:3.11-slim", "build", "")
    copy, run = build.instructions
    assert dockerfile.copied(copy) == ("", ["a", "b"], "./")
    assert run.text.split() == ["one", "&&", "two"]
    assert dockerfile.copied(final.instructions[2]) == ("build", ["/src"], "/dst")
    assert dockerfile.sources([build, final]) == ["a", "b"]
    assert dockerfile.final_config(final, {"Env": ["PATH=/bin"], "Cmd": ["old"]}) == {
        "Env": ["PATH=/opt:/bin", "A=b c"],
        "Labels": {"x": "1", "y": "2"},
        "WorkingDir": "/w",
        "User": "1:2",
        "Entrypoint": ["e"],
        "Cmd": ["c"],
    }


@pytest.mark.parametrize("text", ["FROM x\nADD a b", "RUN a\nFROM x", "FROM x\nARG Y=1"])
def test_what_is_not_understood_is_an_error(text: str) -> None:
    """Nothing of the Dockerfile is left out silently."""
    with pytest.raises(ValueError, match="not understood"):
        dockerfile.parse(text)


@pytest.mark.parametrize("base", ["python:3.12-slim", "python:3.11", "debian:bookworm-slim"])
def test_a_base_without_a_stand_in_is_an_error(base: str) -> None:
    with pytest.raises(ValueError, match="no stand-in"):
        python_base.version(base)
