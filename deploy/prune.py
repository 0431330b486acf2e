# ruff: noqa: INP001 - run by the Dockerfile, not imported
"""Prints the installed packages that detector does not need at run time: tools of development, which the lock holds too."""

import re
import sys
from importlib.metadata import PackageNotFoundError, distributions, requires

_NAME = re.compile(r"[\w.-]+")
_EXTRAS = re.compile(r"^[\w.-]+\s*\[([^\]]*)\]")
KEPT = {"pip"}  # does the uninstalling


def normalise(name: str) -> str:
    """The one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def find_needed(root: str) -> set[str]:
    """The package and everything that it requires here, over any number of steps, by way of the extras that are asked for."""
    needed: set[str] = set()
    waiting = [(root, frozenset[str]())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue  # a marker of another platform
        needed.add(name)
        for line in lines:
            requirement, _, marker = line.partition(";")
            asked = re.findall(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
            if asked and not extras & {normalise(extra) for extra in asked}:
                continue
            found = _NAME.match(requirement.strip())
            wanted = _EXTRAS.match(requirement.strip())
            if found:
                more = frozenset(normalise(extra) for extra in wanted[1].split(",")) if wanted else frozenset[str]()
                waiting.append((normalise(found[0]), more))
    return needed


def main() -> None:
    """Print one name a line."""
    needed = find_needed("detector") | KEPT
    installed = {normalise(found.metadata["Name"]) for found in distributions()}
    sys.stdout.writelines(f"{name}\n" for name in sorted(installed - needed))


if __name__ == "__main__":
    main()
