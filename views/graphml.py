"""A model as GraphML: flat for networkx and Gephi, nested with labels for yEd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from modelexport.ir.text import readable
from modelexport.views.data import ViewData, ViewModule, ViewNode
from modelexport.views.overlays import Overlay

_KEYS = {
    "name": "string",
    "op_type": "string",
    "domain": "string",
    "module_path": "string",
    "class": "string",
    "tag": "string",
    "source": "string",
    "confidence": "double",
    "depth": "int",
}
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns"'
_YED = ' xmlns:y="http://www.yworks.com/xml/graphml" xmlns:yed="http://www.yworks.com/xml/yed/3"'


def graphml(data: ViewData, overlays: Sequence[Overlay] = (), *, nested: bool = False) -> str:
    """One ``<node>`` per node of the model and one ``<edge>`` per producer, reader and value.

    Args:
        nested: groups for modules, in yEd's form.
    """
    return "".join(_document(data, overlays, nested))


def _document(data: ViewData, overlays: Sequence[Overlay], nested: bool) -> Iterator[str]:
    keys = {**_KEYS, **{_overlay_key(overlay): "double" for overlay in overlays}}
    numbers = {name: f"d{position}" for position, name in enumerate(keys)}
    yield f"{_HEAD}{_YED if nested else ''}>\n"
    for name, kind in keys.items():
        yield f' <key id="{numbers[name]}" for="node" attr.name={_attribute(name)} attr.type="{kind}"/>\n'
    yield ' <key id="value" for="edge" attr.name="value" attr.type="string"/>\n'
    if nested:
        yield ' <key id="graphics" for="node" yfiles.type="nodegraphics"/>\n'
    yield ' <graph id="G" edgedefault="directed">\n'
    yield from _nested(data, overlays, numbers) if nested else _flat(data, overlays, numbers)
    for maker, reader, value in _read(data):
        name = escape(_allowed(data.values[value].name))
        yield f'  <edge source="n{maker}" target="n{reader}"><data key="value">{name}</data></edge>\n'
    yield " </graph>\n</graphml>\n"


def _read(data: ViewData) -> Iterator[tuple[int, int, int]]:
    for node in data.nodes:
        for value in dict.fromkeys(node.inputs):
            if value >= 0 and data.values[value].maker >= 0:
                yield data.values[value].maker, node.index, value


def _flat(data: ViewData, overlays: Sequence[Overlay], numbers: dict[str, str]) -> Iterator[str]:
    for node in data.nodes:
        yield f'  <node id="n{node.index}">{_data(data, node, overlays, numbers)}</node>\n'


def _nested(data: ViewData, overlays: Sequence[Overlay], numbers: dict[str, str]) -> Iterator[str]:
    own: dict[int, list[ViewNode]] = {}
    for node in data.nodes:
        own.setdefault(node.module, []).append(node)
    stack: list[tuple[ViewModule, bool]] = [(data.modules[0], False)]
    while stack:
        module, done = stack.pop()
        if done:
            yield "  </graph></node>\n"
            continue
        if module.parent >= 0:
            if not module.inside:
                continue
            label = f"{module.name} {module.class_name}".strip()
            yield f'  <node id="m{module.index}" yfiles.foldertype="group">{_group(label)}'
            yield f'<graph id="m{module.index}:" edgedefault="directed">\n'
            stack.append((module, True))
        for node in own.get(module.index, ()):
            graphics = _shape(readable(node.node.op_type))
            yield f'  <node id="n{node.index}">{_data(data, node, overlays, numbers)}{graphics}</node>\n'
        stack.extend((data.modules[child], False) for child in reversed(module.children))


def _data(data: ViewData, shown: ViewNode, overlays: Sequence[Overlay], numbers: dict[str, str]) -> str:
    module, attribution = data.modules[shown.module], shown.attribution
    entries: dict[str, str] = {
        "name": readable(shown.node.name),
        "op_type": readable(shown.node.op_type),
        "domain": readable(shown.node.domain),
        "module_path": readable(module.path),
        "class": readable(module.cls),
        "tag": readable(module.tag),
        "depth": str(module.level),
    }
    if attribution is not None:
        entries["source"] = str(attribution.source)
        entries["confidence"] = f"{attribution.confidence:.2f}"
    for overlay in overlays:
        if shown.index in overlay.nodes:
            number = repr(float(overlay.nodes[shown.index]))
            entries[_overlay_key(overlay)] = number.replace("inf", "INF")
    return "".join(f'<data key="{numbers[name]}">{escape(_allowed(value))}</data>' for name, value in entries.items())


def _overlay_key(overlay: Overlay) -> str:
    return f"overlay {overlay.name}" if overlay.name in _KEYS else overlay.name


def _group(label: str) -> str:
    text = escape(_allowed(readable(label)))
    return (
        '<data key="graphics"><y:ProxyAutoBoundsNode><y:Realizers active="0"><y:GroupNode>'
        '<y:Fill color="#F5F8FB" transparent="false"/><y:BorderStyle color="#8B99A8" type="line" width="1.0"/>'
        f'<y:NodeLabel modelName="internal" modelPosition="t" alignment="left">{text}</y:NodeLabel>'
        '<y:Shape type="roundrectangle"/><y:State closed="false"/></y:GroupNode></y:Realizers>'
        "</y:ProxyAutoBoundsNode></data>"
    )


def _shape(label: str) -> str:
    width = 24 + 8 * len(label)
    return (
        f'<data key="graphics"><y:ShapeNode><y:Geometry height="28.0" width="{width}.0"/>'
        '<y:Fill color="#EEF3F8" transparent="false"/><y:BorderStyle color="#8B99A8" type="line" width="1.0"/>'
        f'<y:NodeLabel>{escape(_allowed(label))}</y:NodeLabel><y:Shape type="roundrectangle"/></y:ShapeNode></data>'
    )


def _allowed(text: str) -> str:
    """Text without the characters that XML 1.0 forbids: those become U+FFFD. A carriage return would be read back as a
    line feed, so it is replaced too."""
    if text.isprintable():
        return text
    return "".join(letter if _is_allowed(ord(letter)) else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _is_allowed(code: int) -> bool:
    return code in (0x9, 0xA) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF


def _attribute(text: str) -> str:
    return quoteattr(_allowed(readable(text)))
