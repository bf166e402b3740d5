"""Stage kinds: from the name in YAML to the class that does the work.

Built-in kinds come through the same entry points as those of any installed package; a class in a
module beside the config file needs no package at all.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from sedp.errors import ConfigError
from sedp.pipeline_checks import nearest
from sedp.stage import Stage

GROUP = "sedp.stages"
CLASS_PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"


@functools.cache  # it reads files of every installed package, and a reload must not stall others
def installed_kinds() -> Mapping[str, EntryPoint]:
    """Entry points of all stage kinds that were installed when first asked, by name.

    Raises:
        ConfigError: two packages install different classes under one name.
    """
    kinds: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        first = kinds.setdefault(point.name, point)
        if first.value != point.value:
            raise ConfigError(
                f"stage kind {point.name!r} is installed twice, as {first.value} and as "
                f"{point.value}; uninstall one of the packages"
            )
    return kinds


@dataclass(frozen=True, slots=True)
class StageKinds:
    """What a config may name as `kind`.

    Args:
        folder: where modules are looked for after the installed ones; it stays on `sys.path`,
            because a stage may import its neighbours later.
        installed: entry points by name, read once: it takes milliseconds.
    """

    folder: Path
    installed: Mapping[str, EntryPoint] = field(default_factory=installed_kinds)

    def find(self, kind: str) -> type[Stage]:
        """The class behind the name of an installed kind, or behind `module:Class`.

        Raises:
            ValueError: unknown, not importable, or no stage; the message says the mend.
        """
        if kind in self.installed:
            return import_stage(self.installed[kind].value, self.folder)
        if not re.match(CLASS_PATTERN, kind):
            raise ValueError(
                f"no stage kind {kind!r} is installed{nearest(kind, self.installed)}; installed: "
                f"{', '.join(sorted(self.installed))}; for a class of your own write module:Class"
            )
        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))
        return import_stage(kind, self.folder)


def import_stage(named: str, folder: Path) -> type[Stage]:
    """The stage class that `named`, written `module:Class`, means.

    Raises:
        ValueError: not importable, or no stage; the message says the mend.
    """
    module, _, name = named.partition(":")
    return _check_class(_pick(_import_module(module, folder), name), named)


def build_stage(stage: type[Stage], params: Any) -> Stage:
    """An unopened stage that knows the columns it reads.

    Raises:
        ValueError: the stage refuses its params, or its author's code fails.
    """
    try:
        built = stage(params)
        dict(built.requires)
    except ValueError:
        raise
    except Exception as err:  # the author's code: whatever it raises, the config's reader sees it
        raise ValueError(f"{stage.__name__} cannot be made: {blame(err)}; mend it there") from err
    return built


def blame(err: BaseException) -> str:
    """An error of foreign code as one phrase that ends in its file and line."""
    if isinstance(err, SyntaxError):
        file, line = err.filename, err.lineno
    else:
        frame = traceback.extract_tb(err.__traceback__)[-1]
        file, line = frame.filename, frame.lineno
    return f"{type(err).__name__}: {err} ({Path(file or '?').name}:{line})"


def _import_module(module: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as err:
        if err.name is None or not f"{module}.".startswith(f"{err.name}."):
            raise ValueError(
                f"module {module!r} cannot be imported: {blame(err)}; install what it needs"
            ) from err
        raise ValueError(
            f"module {err.name!r} is neither installed nor in {folder}; check its name, or put "
            f"{err.name.partition('.')[0]}.py beside the config file"
        ) from err
    except Exception as err:  # a module may fail in any way while it is imported
        raise ValueError(
            f"module {module!r} cannot be imported: {blame(err)}; mend it there"
        ) from err


def _pick(module: ModuleType, name: str) -> Any:
    try:
        return attrgetter(name)(module)
    except AttributeError as err:
        stages = [key for key, value in vars(module).items() if _is_stage(value)]
        raise ValueError(
            f"module {module.__name__!r} has no class {name!r}{nearest(name, stages)}; "
            f"stages in it: {', '.join(stages) or 'none'}"
        ) from err


def _check_class(found: Any, named: str) -> type[Stage]:
    if not _is_stage(found):
        raise ValueError(f"{named} is no stage; make it a subclass of sedp.stage.Stage")
    if not (isinstance(found.Params, type) and issubclass(found.Params, msgspec.Struct)):
        raise ValueError(f"{named}.Params is no struct; make it a subclass of sedp.stage.Params")
    try:
        msgspec.inspect.type_info(found.Params)
    except (TypeError, NameError) as err:
        raise ValueError(f"{named}.Params cannot be decoded: {err}; mend its types") from err
    stage: type[Stage] = found
    return stage


def _is_stage(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Stage) and value is not Stage
