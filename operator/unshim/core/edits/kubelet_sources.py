"""Which file gives the kubelet each word of its command line, and how to change a word there.

systemd composes the command line from the unit, its drop-ins, `Environment=` and environment
files; this module does the same and keeps, for every word, the place it came from. What the running
kubelet has (argv) decides: where files and argv disagree about a flag that matters, nothing may be
edited, because the next start would bring a surprise with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unshim.core import flags
from unshim.core.edits import systemd_text
from unshim.core.facts import Kubelet, NodeFacts, Unit
from unshim.errors import UnsupportedNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A value in a file that holds words of the command line."""

    path: str
    variable: str  # empty: the ExecStart= itself
    words: tuple[systemd_text.Word, ...]
    insert_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One word of the composed command line and the place it stands in."""

    text: str
    place: Place
    index: int  # of the word in its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What shall become of the command line: words to replace, words to drop, words to add."""

    replace: Mapping[int, str]  # index of an argument -> new text
    drop: frozenset[int]
    add: tuple[str, ...] = ()
    add_to: Place | None = None


def running(facts: NodeFacts) -> Kubelet:
    """The kubelet's facts. Raises UnsupportedNode when it does not run or hides its version."""
    if facts.kubelet is not None and not re.match(r"v?\d+\.\d+", facts.kubelet.version):
        raise UnsupportedNode(
            f"{facts.hostname}: the kubelet's version is unknown, and its flags depend on it. "
            "Nothing was changed. See why `kubelet --version` says nothing."
        )
    if facts.kubelet is None or not facts.kubelet.argv:
        raise UnsupportedNode(
            f"{facts.hostname}: no running kubelet was found, so its flags are unknown. "
            "Nothing was changed. Start the kubelet as a systemd unit and try again."
        )
    return facts.kubelet


def unit(facts: NodeFacts, name: str) -> Unit | None:
    """A unit by its name with or without `.service`."""
    return facts.units.get(name) or facts.units.get(f"{name}.service")


def unit_files(facts: NodeFacts) -> tuple[str, ...]:
    """The kubelet's unit file and drop-ins in the order systemd applies them."""
    kubelet = unit(facts, "kubelet")
    if kubelet is None or not kubelet.fragment:
        raise UnsupportedNode(
            f"{facts.hostname}: the kubelet is no systemd unit, so its flags cannot be edited. "
            "Nothing was changed. Clusters whose kubelet runs in a container (RKE1) or in "
            "process (k3s) need their own tool's procedure."
        )
    return (kubelet.fragment, *kubelet.drop_ins)


def compose(facts: NodeFacts, files: Mapping[str, str]) -> tuple[Argument, ...]:
    """The kubelet's arguments (without the program) as systemd would compose them from `files`."""
    exec_start: systemd_text.Setting | None = None
    exec_path = ""
    inline: dict[str, Place] = {}
    environment_files: list[str] = []
    for path in unit_files(facts):
        for setting in systemd_text.settings(_text(facts, files, path)):
            match setting.section, setting.key:
                case "Service", "ExecStart":
                    exec_start, exec_path = (setting, path) if setting.value else (None, "")
                case "Service", "Environment":
                    inline = {**inline, **_assigned(path, setting)} if setting.value else {}
                case "Service", "EnvironmentFile":
                    paths = [w.text.lstrip("-") for w in systemd_text.words(setting.value)]
                    environment_files = [*environment_files, *paths] if paths else []
    if exec_start is None:
        raise UnsupportedNode(
            f"{facts.hostname}: no ExecStart= in {', '.join(unit_files(facts))}. "
            "Nothing was changed."
        )
    variables = {**inline, **_from_files(environment_files, files)}
    return _arguments(exec_path, exec_start, variables)


def _text(facts: NodeFacts, files: Mapping[str, str], path: str) -> str:
    try:
        return files[path]
    except KeyError:
        raise UnsupportedNode(
            f"{facts.hostname}: {path} belongs to the kubelet's unit but could not be read. "
            "Nothing was changed."
        ) from None


def _assigned(path: str, setting: systemd_text.Setting) -> dict[str, Place]:
    found = {}
    for word in systemd_text.words(setting.value, c_escapes=True):
        name, equals, _ = word.text.partition("=")
        if equals:
            value = word.chars[len(name) + 1 :]
            at = value[-1].end if value else word.chars[-1].end
            found[name] = _place(path, name, value, at)
    return found


def _from_files(paths: Sequence[str], files: Mapping[str, str]) -> dict[str, Place]:
    return {
        variable.name: _place(path, variable.name, variable.value, variable.insert_at)
        for path in paths
        for variable in systemd_text.environment_file(files.get(path, ""))
    }


def _place(path: str, name: str, value: Sequence[systemd_text.Char], at: int) -> Place:
    words = systemd_text.words(value)
    return Place(path=path, variable=name, words=words, insert_at=at)


def _arguments(
    path: str, exec_start: systemd_text.Setting, variables: Mapping[str, Place]
) -> tuple[Argument, ...]:
    words = systemd_text.words(exec_start.value, c_escapes=True)
    own = Place(path=path, variable="", words=words, insert_at=words[-1].end)
    found: list[Argument] = []
    for index, word in enumerate(words[1:], 1):
        variable = re.fullmatch(r"\$(\w+)", word.text)
        if variable is None:
            text = _interpolated(word.text, variables)
            found.append(Argument(text=text, place=own, index=index))
        elif (place := variables.get(variable[1])) is not None:
            found += [
                Argument(text=inner.text, place=place, index=n)
                for n, inner in enumerate(place.words)
            ]
    return tuple(found)


def _interpolated(text: str, variables: Mapping[str, Place]) -> str:
    def value(match: re.Match[str]) -> str:
        place = variables.get(match[1])
        return " ".join(word.text for word in place.words) if place else ""

    return re.sub(r"\$\{(\w+)\}", value, text).replace("$$", "$").replace("%%", "%")


def attributed(facts: NodeFacts, relevant: frozenset[str]) -> tuple[Argument, ...]:
    """The composed arguments, once they agree with the running kubelet on every `relevant` flag.

    Raises UnsupportedNode naming the flags and files that disagree.
    """
    arguments = compose(facts, facts.files)
    written = _relevant([argument.text for argument in arguments], relevant)
    seen = _relevant(running(facts).argv[1:], relevant)
    if written == seen:
        return arguments
    named = ", ".join(sorted({f"--{name}={value}" for name, value in set(written) ^ set(seen)}))
    places = sorted({argument.place.path for argument in arguments} | set(unit_files(facts)))
    raise UnsupportedNode(
        f"{facts.hostname}: the running kubelet and its files disagree about "
        f"{named or 'the order of its flags'}; looked in {', '.join(places)}. Nothing was changed. "
        "If the files are right, restart the kubelet; if the flag comes from elsewhere (a wrapper "
        "script), move it into one of these files."
    )


def _relevant(words: Sequence[str], names: frozenset[str]) -> list[tuple[str, str]]:
    return [(f.name, f.value) for f in flags.occurrences(words) if f.name in names]


def rewrite(facts: NodeFacts, arguments: Sequence[Argument], changes: Changes) -> Mapping[str, str]:
    """The new text of every file that `changes` touch.

    The result is composed again and compared, so a file whose quoting defeats the edit raises
    UnsupportedNode and is left alone.
    """
    texts: dict[str, str] = {}
    for path in {argument.place.path for argument in arguments}:
        spans = _spans(path, arguments, changes)
        if spans:
            texts[path] = _spliced(facts.files[path], spans)
    _prove(facts, arguments, changes, {**facts.files, **texts})
    return texts


def _spans(path: str, arguments: Sequence[Argument], changes: Changes) -> set[tuple[int, int, str]]:
    spans: set[tuple[int, int, str]] = set()
    dropped: dict[Place, set[int]] = {}
    for number, argument in enumerate(arguments):
        if argument.place.path != path:
            continue
        word = argument.place.words[argument.index]
        if number in changes.drop:
            dropped.setdefault(argument.place, set()).add(argument.index)
        elif number in changes.replace:
            spans.add((word.start, word.end, changes.replace[number]))
    for place, indexes in dropped.items():
        spans |= {(start, end, "") for start, end in _dropped(place.words, indexes)}
    if changes.add and changes.add_to is not None and changes.add_to.path == path:
        spans.add(_added(changes.add_to, dropped.get(changes.add_to, set()), changes.add))
    return spans


def _dropped(words: Sequence[systemd_text.Word], indexes: set[int]) -> list[tuple[int, int]]:
    """Spans that take the words out together with the blanks that set them off."""
    spans = []
    for index in sorted(indexes):
        if index - 1 in indexes:
            continue
        last = index
        while last + 1 in indexes:
            last += 1
        if index > 0:
            spans.append((words[index - 1].end, words[last].end))
        elif last + 1 < len(words):
            spans.append((words[0].start, words[last + 1].start))
        else:
            spans.append((words[0].start, words[last].end))
    return spans


def _added(place: Place, dropped: set[int], add: Sequence[str]) -> tuple[int, int, str]:
    text = " ".join(add)
    if not place.words:
        return place.insert_at, place.insert_at, text
    at = place.words[-1].end
    return at, at, text if len(dropped) == len(place.words) else f" {text}"


def _spliced(text: str, spans: set[tuple[int, int, str]]) -> str:
    # An insertion stands at the end of the last word, where a dropped span may end: it goes after.
    for start, end, new in sorted(spans, key=lambda span: (span[1], span[0]), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _prove(
    facts: NodeFacts, arguments: Sequence[Argument], changes: Changes, files: Mapping[str, str]
) -> None:
    expected = [
        changes.replace.get(number, argument.text)
        for number, argument in enumerate(arguments)
        if number not in changes.drop
    ]
    now = [argument.text for argument in compose(facts, files)]
    missing = [word for word in changes.add if word not in now]
    for word in changes.add:
        if word in now:
            now.remove(word)
    if missing or now != expected:
        raise UnsupportedNode(
            f"{facts.hostname}: the kubelet's flags cannot be edited without changing others, "
            "probably because of unusual quoting in "
            f"{', '.join(sorted({a.place.path for a in arguments}))}. Nothing was changed. "
            "Write each flag as a plain word and try again."
        )
