"""What tags alone say of modules: classes, and which levels of a path are modules.

The other direction of :mod:`.tags`, for files whose tables are gone. A segment stands for one module and its atoms end
in the segment's suffix; how many atoms it stands for is told by the other tags of the file, or is not told at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from modelexport.ir.modules.module import Module
from modelexport.ir.modules.tags import ROOT_WITHOUT_CLASS

_MOST = 64  # segments of a tag and, twice, atoms of a path that are looked at: all ways to pair them are

Segments = tuple[str, ...]


def modules_of_tags(tags: Mapping[str, str], *, collapsed: bool = False) -> list[Module]:
    """The modules that tags spell, from the outermost to the innermost; ``tags`` has the tag of each path.

    A level is there where only one path fits its segment in all tags that have it. Tags that were ``collapsed`` when
    they were written (``torch_nn=False``), as those are that several paths share, tell of no class below the root.
    """
    whole = {
        path: segments for path, tag in tags.items() if (segments := _segments(tag)) and path.count(".") < 2 * _MOST
    }
    roots = {segments[0] for segments in whole.values()}
    if len(roots) != 1:
        return []
    collapsed = collapsed or len(set(whole.values())) < len(whole)
    places: dict[Segments, set[str]] = {}
    for path, segments in whole.items() if not collapsed else ():
        for length, fitting in _fitting(path, segments).items():
            key = segments[:length]
            places[key] = places[key] & fitting if key in places else fitting
    found = {key: min(paths) for key, paths in places.items() if len(paths) == 1}
    modules = [
        Module(path, _class(key[-1], path), tag="/" + "/".join(key))
        for key, path in sorted(found.items(), key=lambda item: len(item[0]))
    ]
    root = roots.pop()
    if any(module.cls for module in modules) or root != ROOT_WITHOUT_CLASS:
        modules.insert(0, Module("", unquote(root), tag="/" + root))
    return modules


def classes_of_tag(tag: str) -> Segments:
    """The names of the classes in a tag, or what stands there without a class."""
    return tuple(segment.partition(".")[0] for segment in _segments(tag))


def _segments(tag: str) -> Segments:
    segments = tuple(tag.removeprefix("/").split("/"))
    return segments if tag[:1] == "/" and all(segments) and len(segments) <= _MOST else ()


def _fitting(path: str, segments: Segments) -> dict[int, set[str]]:
    """For every number of segments from the root's on, the paths that these can stand for in the tag of ``path``."""
    atoms = path.split(".") if path else []
    count, length = len(segments) - 1, len(atoms)
    # ends[n]: after how many atoms the n-th segment may end, as those before it allow, then as those after it do
    ends: list[set[int]] = [{0}]
    for segment in segments[1:]:
        ends.append(
            {end for start in ends[-1] for end in range(start + 1, length + 1) if _fits(segment, atoms[start:end])}
        )
    ends[-1] &= {length}
    for at in range(count, 0, -1):
        ends[at - 1] = {
            start for start in ends[at - 1] for end in ends[at] if end > start and _fits(segments[at], atoms[start:end])
        }
    return {at + 1: {".".join(atoms[:end]) for end in ends[at]} for at in range(1, count + 1)}


def _fits(segment: str, atoms: list[str]) -> bool:
    """Whether a segment may stand for a module with these atoms below the one above it."""
    if unquote(segment) == ".".join(atoms):
        return True
    suffix = [unquote(atom) for atom in segment.split(".")[1:]]
    return atoms[-len(suffix) :] == suffix if suffix else not atoms[-1].isdigit()


def _class(segment: str, path: str) -> str:
    """The class in a segment; ``""`` where the segment is nothing but the end of the path."""
    plain = unquote(segment)
    return "" if path == plain or path.endswith("." + plain) else unquote(segment.partition(".")[0])


def agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether tags by path can be those of one model: some paths are in both, and all of these have equal classes."""
    both: Iterable[str] = one.keys() & other.keys()
    same = [classes_of_tag(one[path]) == classes_of_tag(other[path]) for path in both]
    return bool(same) and all(same)
