"""YAML text to plain values, with the line and column of each: so that every mistake can be named by its place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Self, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from collections.abc import Iterator

Path: TypeAlias = tuple[str | int, ...]

NODES_MAX = 50_000
DEPTH_MAX = 20
DIGITS_MAX = 40
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
TAB_INDENT = re.compile(r"^ *\t")
CORE_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge")
)
NO_VALUE = "has no value: give it one, or remove the line"
COMMA = "has no value: a comma begins a new key, so decimals have a point (0.05), and thousands no mark"
INTEGER = re.compile(r"^[-+]?\d+$")
FLOAT = re.compile(r"^[-+]?(\d+\.\d*|\.\d+|\d+(\.\d*)?[eE][-+]?\d+)$")
NOT_NUMBERS = {".nan", ".inf", "-.inf", "+.inf"}
DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")


class ExactFloat(float):
    """A number with a point, and its text: a price is exact, whatever a float makes of it."""

    text: str

    def __new__(cls, text: str) -> Self:
        """The number that the text says."""
        made = super().__new__(cls, text)
        made.text = text
        return made


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One mistake and where it stands; lines and columns count from 1."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: "
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


def path_text(path: Path) -> str:
    """``rules[1].when.team`` of ("rules", 1, "when", "team")."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


class Places:
    """The values of one YAML document, the place of each, and what was wrong with the YAML itself."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self._at: dict[Path, tuple[int, int]] = {(): (1, 1)}
        self._nodes = 0
        self._too_large: list[Finding] = []
        self.value: object = None
        root = self._compose(text)
        if root is not None:
            self.value = self._build(root, ())
        if self._too_large:
            # What is left of such a file says nothing of what was meant.
            self.value, self.findings = None, self._too_large

    def find(self, path: Path, message: str) -> Finding:
        """A finding at the path, or at the nearest place above it that the file has."""
        place = path
        while place not in self._at:
            place = place[:-1]
        line, column = self._at[place]
        return Finding(self.file, line, column, path_text(path), message)

    def add(self, path: Path, message: str) -> None:
        """Note a finding of the YAML itself."""
        self.findings.append(self.find(path, message))

    def _compose(self, text: str) -> Node | None:
        control = CONTROL.search(text)
        if control is not None:
            code = f"U+{ord(control.group()):04X}"
            return self._refuse(text.count("\n", 0, control.start()) + 1, f"the control character {code} is not text")
        yaml = YAML(typ="rt", pure=True)
        yaml.allow_duplicate_keys = True  # they are named below, each at its own line
        try:
            documents = list(self._documents(yaml, text))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark is not None else 1
            problem = (error.problem or "not YAML").splitlines()[0]
            if any(TAB_INDENT.match(each) for each in text.split("\n")[line - 1 : line]):
                problem = "a tab: YAML is indented with spaces"
            return self._refuse(line, f"not valid YAML: {problem}")
        except (YAMLError, ValueError) as error:
            return self._refuse(1, f"not valid YAML: {str(error).splitlines()[0]}")
        except RecursionError:
            return self._refuse(1, "blocks within blocks without end")
        if not documents:
            return self._refuse(1, "the file is empty")
        if len(documents) > 1:
            lines = text.split("\n")
            first_key = documents[1].start_mark.line
            dashes = next(
                (at for at in range(first_key, 0, -1) if lines[at : at + 1] and lines[at][:3] == "---"), first_key
            )
            return self._refuse(dashes + 1, "a second document starts here; a file holds one")
        return documents[0]

    def _refuse(self, line: int, message: str) -> Node | None:
        self.findings.append(Finding(self.file, line, 1, "", message))
        return None

    @staticmethod
    def _documents(yaml: YAML, text: str) -> Iterator[Node]:
        yield from (node for node in yaml.compose_all(text) if node is not None)

    def _build(self, node: Node, path: Path) -> object:
        if node.value != "" or path not in self._at:  # nothing stands where the next thing begins
            self._at[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            if not self._too_large:
                message = f"more than {NODES_MAX:,} values or {DEPTH_MAX} levels: aliases multiplied them"
                self._too_large = [self.find(path[:1], message)]
            return None
        if node.tag not in CORE_TAGS:
            self.add(path, "a YAML tag (`!...`) means nothing here: remove it")
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self._build(child, (*path, index)) for index, child in enumerate(node.value)]
        assert isinstance(node, ScalarNode), node
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.add(path, "a key must be plain text")
                continue
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
                message = "merged blocks are not read: write the fields out"
                self.findings.append(Finding(self.file, line, column, path_text((*path, key)), message))
                continue
            inner = (*path, key)
            is_double = key in found
            place = self._at[inner] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            found[key] = self._build(value_node, inner)
            self._at[inner] = place
            if is_double:
                self.add(inner, "this key is given twice")
        return found

    def _scalar(self, node: ScalarNode, path: Path) -> object:
        text = str(node.value)
        if node.style in ("'", '"', "|", ">"):
            return text
        lowered = text.lower()
        if lowered in ("true", "false"):
            return lowered == "true"
        if lowered in ("", "~", "null"):
            is_comma = bool(path) and isinstance(path[-1], str) and path[-1].isdecimal()
            self.add(path, COMMA if is_comma else NO_VALUE)
            return None
        if lowered in NOT_NUMBERS:
            self.add(path, f"`{text}` is not an amount of anything")
            return 0
        if INTEGER.match(text) or FLOAT.match(text):
            if len(text) <= DIGITS_MAX and math.isfinite(float(text)):
                return int(text) if INTEGER.match(text) else ExactFloat(text)
            self.add(path, "a number beyond every measure")
            return 0
        if DATE.match(text):
            try:
                return date.fromisoformat(text)
            except ValueError:
                self.add(path, f"{text} is not a day of the calendar")
        return text
