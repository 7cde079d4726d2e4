"""Conditions that people write in CEL (https://cel.dev): checked against declared variables when saved, cheap when asked.

A `Vocabulary` names the variables; `compile` makes a `Condition` of a text or says where it is wrong. A condition has no
loops but those over its own lists, no side effects, and no way to build long texts; regular expressions are RE2's, whose
time is linear. The runtime bounds nesting (32 levels) and iterations (10,000) by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from cel_expr_python import cel

from apps.core.errors import ExpressionInvalid

MAX_LENGTH = 2_000
"""Characters of a condition."""
MAX_MESSAGE_LENGTH = 300

# Sums of texts, bytes and lists in nested loops are the one way to use up memory; conditions compare, they don't write.
_STANDARD_LIBRARY = """
stdlib:
  exclude_functions:
    - name: "_+_"
      overloads:
        - id: "add_string"
        - id: "add_bytes"
        - id: "add_list"
"""
_PLACE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_PATTERN = re.compile(r"""matches\(\s*(r?(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))""", re.IGNORECASE)
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")


class Kind(StrEnum):
    """What a variable holds."""

    TEXT = "text"
    NUMBER = "number"
    """A whole number."""
    DECIMAL = "decimal"
    TRUTH = "true or false"
    TEXTS = "list of texts"
    FIELDS = "texts by name"


_TYPES = {
    Kind.TEXT: cel.Type.STRING,
    Kind.NUMBER: cel.Type.INT,
    Kind.DECIMAL: cel.Type.DOUBLE,
    Kind.TRUTH: cel.Type.BOOL,
    Kind.TEXTS: cel.Type.List(cel.Type.STRING),
    Kind.FIELDS: cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
}


class ExpressionFailed(Exception):
    """A condition could not be answered for these values: a missing key, a division by zero, an index too high."""


class Facts:
    """Values of a vocabulary's variables, ready for any number of its conditions."""

    __slots__ = ("activation",)

    def __init__(self, activation: Any) -> None:
        self.activation = activation


class Condition:
    """A checked expression that is true or false of facts."""

    __slots__ = ("_expression", "source")

    def __init__(self, source: str, expression: Any) -> None:
        self.source = source
        self._expression = expression

    def holds(self, facts: Facts) -> bool:
        """Tell whether it is true. Raise ExpressionFailed when it cannot be said; some 3 µs."""
        try:
            found = self._expression.eval(facts.activation).value()
        except (RuntimeError, ValueError, TypeError) as error:
            raise ExpressionFailed(_shorten(str(error))) from None
        if found is True or found is False:
            return found
        raise ExpressionFailed(_shorten(str(found)))


class Vocabulary:
    """The variables that conditions of one purpose may use, with their kinds."""

    def __init__(self, variables: Mapping[str, Kind]) -> None:
        self.variables = dict(variables)
        self._environment = cel.NewEnv(
            config=cel.NewEnvConfigFromYaml(_STANDARD_LIBRARY),
            variables={name: _TYPES[kind] for name, kind in variables.items()},
        )

    def compile(self, source: str) -> Condition:
        """Return the condition that a text says. Raise ExpressionInvalid, with the place, when it says none."""
        if len(source) > MAX_LENGTH:
            raise ExpressionInvalid(
                f"The expression has {len(source)} characters; at most {MAX_LENGTH} are possible.", line=1, column=1
            )
        try:
            source.encode()
        except UnicodeEncodeError as error:
            raise ExpressionInvalid(
                "The expression holds half a character (a lone surrogate).", **_place(source, error.start)
            ) from None
        try:
            expression = self._environment.compile(source)
        except RuntimeError as error:
            raise _invalid(str(error)) from None
        if expression.return_type() != cel.Type.BOOL:
            kind = expression.return_type().name().lower()
            raise ExpressionInvalid(
                f"The expression is a value ({kind}); it has to be true or false.", line=1, column=1
            )
        self._check_patterns(source)
        return Condition(source, expression)

    def bind(self, values: Mapping[str, Any]) -> Facts:
        """Return values as facts. A value that is missing or of another kind makes the conditions fail that use it."""
        return Facts(self._environment.Activation(values))

    def _check_patterns(self, source: str) -> None:
        """Refuse broken regular expressions that are written out: CEL itself notices them only when they are used."""
        for match in _PATTERN.finditer(source):
            found = self._environment.compile(f"''.matches({match[1]})").eval().value()
            if found is not True and found is not False:
                raise ExpressionInvalid(_shorten(str(found)), **_place(source, match.start(1)))


def _invalid(message: str) -> ExpressionInvalid:
    found = _PLACE.search(message)
    if found is None:
        return ExpressionInvalid(_shorten(message.partition("\n")[0]), line=1, column=1)
    text = found[3].removesuffix(" (in container '')")
    text, _, _ = text.partition(" expecting {")
    return ExpressionInvalid(_shorten(text), line=max(int(found[1]), 1), column=max(int(found[2]), 1))


def _place(source: str, at: int) -> dict[str, int]:
    before = source[:at]
    return {"line": before.count("\n") + 1, "column": at - (before.rfind("\n") + 1) + 1}


def _shorten(message: str) -> str:
    return _STATUS.sub("", message).strip()[:MAX_MESSAGE_LENGTH]
