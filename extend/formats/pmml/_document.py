"""XML of PMML files, read without DTD or entities and within limits: a tree whose PMML tags carry no namespace."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from extend.core.errors import FormatError, MissingExtraError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

BYTES, ELEMENTS, DEPTH = 256 << 20, 1_000_000, 64
NAMESPACE = re.compile(r"http://www\.dmg\.org/(?:v|PMML-)(\d)[_-](\d)/?")
NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class _Builder(ElementTree.TreeBuilder):
    """A tree with its comments, of at most `ELEMENTS` elements nested at most `DEPTH` deep."""

    def __init__(self) -> None:
        super().__init__(insert_comments=True)
        self.count = self.depth = 0

    def start(self, tag: Any, attrs: Any) -> Element:
        self.count += 1
        self.depth += 1
        if self.count > ELEMENTS or self.depth > DEPTH:
            raise FormatError(f"more than {ELEMENTS} elements, or elements nested deeper than {DEPTH}")
        return super().start(tag, attrs)

    def end(self, tag: Any) -> Element:
        self.depth -= 1
        return super().end(tag)


def parse(content: bytes, where: str) -> Element:
    """Return the root element ``PMML``; the version's namespace is kept as its attribute ``xmlns``.

    Raises
    ------
    FormatError
        If the content is not XML, has a DTD or an entity in it, is too large or too deep, or is not PMML 3 or 4.

    Examples
    --------
    >>> parse(b'<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/></PMML>', "a.pmml")[0].tag
    'Header'
    """
    try:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import DefusedXMLParser
    except ImportError as error:
        raise MissingExtraError("PMML", "pmml", error) from error
    if len(content) > BYTES:
        raise FormatError(f"{where}: {len(content)} bytes; expected at most {BYTES}")
    try:
        parser = DefusedXMLParser(target=_Builder(), forbid_dtd=True, forbid_entities=True, forbid_external=True)
        parser.feed(content)
        root = parser.close()
    except DefusedXmlException as error:
        raise FormatError(f"{where}: the file has a document type or entities ({error}); remove them") from error
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    except Exception as error:  # Expat's own errors, and those of the codecs that a file may name.
        raise FormatError(f"{where}: not an XML file: {error}") from error
    namespace, _, tag = root.tag[1:].partition("}") if root.tag.startswith("{") else ("", "", root.tag)
    version = root.get("version", "")
    known = NAMESPACE.fullmatch(namespace)
    if tag != "PMML" or (namespace and not known) or version[:1] not in ("3", "4"):
        raise FormatError(
            f"{where}: root element {root.tag!r} of version {version!r}; expected PMML of version 3.x or 4.x"
        )
    prefix = f"{{{namespace}}}"
    for element in root.iter():
        if namespace and isinstance(element.tag, str) and element.tag.startswith(prefix):
            element.tag = element.tag[len(prefix) :]
    if namespace:
        root.set("xmlns", namespace)
    return root


def write(root: Element) -> bytes:
    """Return the tree as UTF-8.

    Examples
    --------
    >>> write(parse(b'<PMML version="3.2"><Header/></PMML>', "a.pmml"))[-37:]
    b'<PMML version="3.2"><Header /></PMML>'
    """
    return ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)


def children(element: Element, *tags: str) -> Iterator[Element]:
    """Yield the child elements of these tags, in order; without tags all but comments and extensions."""
    for child in element:
        if isinstance(child.tag, str) and (child.tag in tags if tags else child.tag != "Extension"):
            yield child


def only(element: Element, tag: str, where: str) -> Element:
    """Return the one child of this tag."""
    found = list(children(element, tag))
    if len(found) != 1:
        raise FormatError(f"{where}: {element.tag} has {len(found)} elements {tag}; expected one")
    return found[0]


def text(element: Element, name: str, where: str) -> str:
    """Return an attribute that must be there."""
    value = element.get(name)
    if value is None:
        raise FormatError(f"{where}: {element.tag} without its attribute {name!r}")
    return value


def real(value: str, where: str) -> float:
    """Return a finite number as XML writes it.

    Examples
    --------
    >>> real("-1.5e2", "weight")
    -150.0
    """
    result = float(value) if len(value) < 1000 and NUMBER.fullmatch(value) else math.nan
    if not math.isfinite(result):
        raise FormatError(f"{where} is {value[:40]!r}; expected a finite number")
    return result


def number(element: Element, name: str, where: str, default: float | None = None) -> float:
    """Return a numeric attribute; `where` and the names tell of it in an error."""
    value = element.get(name)
    if value is None and default is not None:
        return default
    try:
        return real(text(element, name, where), name)
    except FormatError as error:
        raise FormatError(f"{where}: {element.tag} {error}") from error
