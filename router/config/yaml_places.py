"""YAML text to plain values, with the line and column of each: so that every mistake can be named by its place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from collections.abc import Iterator

Path: TypeAlias = tuple[str | int, ...]

NODES_MAX = 50_000
DEPTH_MAX = 20
INTEGER = re.compile(r"^[-+]?\d+$")
FLOAT = re.compile(r"^[-+]?(\d+\.\d*|\.\d+|\d+(\.\d*)?[eE][-+]?\d+)$")
NOT_NUMBERS = {".nan", ".inf", "-.inf", "+.inf"}
DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")


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
        self.value: object = None
        root = self._compose(text)
        if root is not None:
            self.value = self._build(root, ())

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
        yaml = YAML(typ="rt", pure=True)
        yaml.allow_duplicate_keys = True  # they are named below, each at its own line
        try:
            documents = list(self._documents(yaml, text))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            problem = (error.problem or "not YAML").splitlines()[0]
            self.findings.append(Finding(self.file, line, column, "", f"not valid YAML: {problem}"))
            return None
        except (YAMLError, ValueError) as error:
            self.findings.append(Finding(self.file, 1, 1, "", f"not valid YAML: {str(error).splitlines()[0]}"))
            return None
        if not documents:
            self.findings.append(Finding(self.file, 1, 1, "", "the file is empty"))
            return None
        if len(documents) > 1:
            line = documents[1].start_mark.line + 1
            self.findings.append(Finding(self.file, line, 1, "", "one policy a file: a second document starts here"))
            return None
        return documents[0]

    @staticmethod
    def _documents(yaml: YAML, text: str) -> Iterator[Node]:
        yield from (node for node in yaml.compose_all(text) if node is not None)

    def _build(self, node: Node, path: Path) -> object:
        self._at[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            if self._nodes == NODES_MAX + 1 or len(path) > DEPTH_MAX:
                self.add(path, "too large: aliases may have multiplied it")
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
            inner = (*path, key)
            is_double = key in found
            found[key] = self._build(value_node, inner)
            self._at[inner] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
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
            return None
        if lowered in NOT_NUMBERS:
            self.add(path, f"{text} is not a number that anything can be compared with")
            return 0.0
        if INTEGER.match(text):
            return int(text)
        if FLOAT.match(text):
            value = float(text)
            if math.isfinite(value):
                return value
            self.add(path, f"{text} is too large")
            return 0.0
        if DATE.match(text):
            try:
                return date.fromisoformat(text)
            except ValueError:
                self.add(path, f"{text} is not a day of the calendar")
        return text
