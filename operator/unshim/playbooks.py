"""Finds and loads playbooks: the shipped ones, or a folder that an admin mounts."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from unshim.core import recipe
from unshim.core.edits import EDITS
from unshim.core.steps import Playbook
from unshim.errors import InvalidPlaybook

SOURCE_TREE = Path(__file__).resolve().parents[2] / "playbooks"


def load(name: str, directory: str = "") -> Playbook:
    """One playbook by name. Raises InvalidPlaybook naming file and field."""
    file = (Path(directory) if directory else shipped()) / f"{name}.yaml"
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
        return recipe.parse(raw, EDITS)
    except OSError as exc:
        raise InvalidPlaybook(f"playbook {name}: {file} cannot be read: {exc}") from exc
    except yaml.YAMLError as exc:
        raise InvalidPlaybook(f"playbook {name}: {file} is not YAML: {exc}") from exc
    except InvalidPlaybook as exc:
        raise InvalidPlaybook(f"playbook {name}: {file}: {exc}") from exc


def shipped() -> Traversable:
    """Inside an installed wheel, or in the source tree."""
    packaged = resources.files("unshim").joinpath("playbooks_data")
    return packaged if packaged.is_dir() else SOURCE_TREE
