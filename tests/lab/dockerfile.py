"""Our Dockerfile, read: the instructions it uses, and an error for any other."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Any

#: An image's configuration, in the words of Docker's own image format.
Config = Mapping[str, Any]

DONE_TO_FILES = ("RUN", "COPY")
DONE_TO_CONFIG = ("CMD", "ENTRYPOINT", "ENV", "LABEL", "USER", "WORKDIR")


@dataclass(frozen=True, slots=True)
class Instruction:
    word: str
    text: str  # everything after the word, its lines joined


@dataclass(frozen=True, slots=True)
class Stage:
    base: str
    name: str  # "" for the last one
    instructions: tuple[Instruction, ...]


def parse(text: str) -> list[Stage]:
    """The stages, in order. Raises ValueError for an instruction that is not understood."""
    arguments: dict[str, str] = {}
    stages: list[tuple[str, str, list[Instruction]]] = []
    for one in _instructions(text):
        if one.word == "ARG" and not stages:
            name, _, default = one.text.partition("=")
            arguments[name] = default
        elif one.word == "FROM":
            base, _, name = Template(one.text).substitute(arguments).partition(" AS ")
            stages.append((base, name, []))
        elif stages and one.word in (*DONE_TO_FILES, *DONE_TO_CONFIG):
            stages[-1][2].append(one)
        else:
            raise ValueError(f"Dockerfile: {one.word} {one.text}: not understood here")
    return [Stage(base, name, tuple(instructions)) for base, name, instructions in stages]


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    parted = [line.split(None, 1) for line in joined if line.strip()]
    return [Instruction(word, rest.strip()) for word, rest in parted]


def configured(config: Config, one: Instruction) -> Config:
    """The configuration after an instruction that changes nothing else."""
    if one.word in ("ENTRYPOINT", "CMD"):
        return {**config, one.word.title(): json.loads(one.text)}
    if one.word == "USER":
        return {**config, "User": one.text}
    if one.word == "WORKDIR":
        return {**config, "WorkingDir": one.text}
    known = environment(config)
    pairs = dict(word.split("=", 1) for word in shlex.split(Template(one.text).substitute(known)))
    if one.word == "ENV":
        return {**config, "Env": [f"{name}={value}" for name, value in {**known, **pairs}.items()]}
    return {**config, "Labels": {**config.get("Labels", {}), **pairs}}


def environment(config: Config) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in config.get("Env", ()))


def final_config(stage: Stage, base: Config) -> Config:
    """What the image of this stage runs, as whom and with which environment."""
    for one in stage.instructions:
        if one.word in DONE_TO_CONFIG:
            base = configured(base, one)
    return base


def copied(one: Instruction) -> tuple[str, list[str], str]:
    """Of a COPY: the stage it copies from ("": the build's context), the sources, the target."""
    words = shlex.split(one.text)
    origin = ""
    if words[0].startswith("--from="):
        origin = words.pop(0).partition("=")[2]
    return origin, words[:-1], words[-1]


def sources(stages: list[Stage]) -> list[str]:
    """What the build reads from its context."""
    copies = [copied(one) for s in stages for one in s.instructions if one.word == "COPY"]
    return [source for origin, names, _ in copies if not origin for source in names]
