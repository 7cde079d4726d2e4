"""Conditions about topics that could be slow on a long text, found before they are saved.

CEL bounds how often its loops go round, not what a round costs: ten thousand searches through a long text would hold up a
process for a minute and more. So loops over words look at words, and regular expressions are written out and small.
"""

from __future__ import annotations

import ast
import re

from apps.core.errors import ExpressionInvalid

MOST_STATES = 500
"""What all the regular expressions of a condition may add up to, repeats written out: some 15 ms for 50,000 characters."""
LONG_TEXT = "text"
SHORT_LISTS = frozenset({"tags"})
_MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_PART = re.compile(
    r"""//[^\n]*|\s+|(?P<string>[bBrR]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))|\w+|.""",
    re.DOTALL,
)
_COUNT = re.compile(r"(?<!\\)\{(\d+)(?:,(\d*))?\}")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


class _Part(str):
    """A word, sign or string of a condition, and where it stands."""

    at: int
    is_string: bool


def check_costs(source: str) -> None:
    """Raise ExpressionInvalid, with the place, when a condition that compiles could be slow."""
    parts = _split(source)
    opened: list[str] = []
    loops: list[int] = []
    states = 0
    for index, part in enumerate(parts):
        if part.is_string:
            continue
        if part in _OPENING:
            opened.append(part)
            if part == "(" and _is_long_loop(parts, index):
                loops.append(len(opened))
        elif part in _CLOSING:
            if loops and loops[-1] == len(opened):
                loops.pop()
            opened.pop()
        elif part == LONG_TEXT and (loops or opened.count("(") < len(opened)):
            raise _refused(source, part, "`text` is long: do not ask about it in loops over words, nor list it")
        elif part == "matches" and parts[index + 1] == "(":
            pattern = parts[index + 2]
            if parts[index - 1] != "." or not pattern.is_string or parts[index + 3] != ")":
                raise _refused(source, part, 'write the pattern out, as in text.matches("a|b")')
            states += _count_states(pattern)
            if states > MOST_STATES:
                raise _refused(source, part, "its regular expressions are too big; use smaller repeats")


def _split(source: str) -> list[_Part]:
    parts: list[_Part] = []
    for match in _PART.finditer(source):
        if match[0].isspace() or match[0].startswith("//"):
            continue
        part = _Part(match[0])
        part.at = match.start()
        part.is_string = match["string"] is not None
        parts.append(part)
    return parts


def _is_long_loop(parts: list[_Part], index: int) -> bool:
    """Tell whether a bracket opens a loop that may go round often: over anything but `tags` or a list written out."""
    if index < 3 or parts[index - 1] not in _MACROS or parts[index - 2] != ".":
        return False
    last = index - 3
    if parts[last] in SHORT_LISTS and (last == 0 or parts[last - 1] != "."):
        return False
    if parts[last] != "]":
        return True
    last -= 1
    while last >= 0 and (parts[last].is_string or parts[last] == ","):
        last -= 1
    # What stands before the bracket tells a list from an index.
    return parts[last] != "[" or (last > 0 and (parts[last - 1] in _CLOSING or parts[last - 1].isidentifier()))


def _count_states(literal: str) -> int:
    """Return about how big the automaton of a pattern is: its characters, as often as its counts say."""
    try:
        pattern = str(ast.literal_eval(literal))
    except (SyntaxError, ValueError):
        pattern = literal
    sizes = [0]
    position = last = 0
    while position < len(pattern):
        character = pattern[position]
        count = _COUNT.match(pattern, position)
        if count is not None:
            times = max(int(count[1]), int(count[2] or 0), 1)
            sizes[-1] += last * (times - 1)
            last *= times
            position = count.end()
            continue
        if character == "(":
            sizes.append(0)
        elif character == ")" and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif character == "[":
            last = 1
            sizes[-1] += 1
            position = max(pattern.find("]", position + 2), position)
        else:
            last = 1
            sizes[-1] += 1
            position += character == "\\"
        position += 1
    return sum(sizes)


def _refused(source: str, part: _Part, why: str) -> ExpressionInvalid:
    before = source[: part.at]
    return ExpressionInvalid(
        f"The condition could be slow: {why}.", line=before.count("\n") + 1, column=part.at - before.rfind("\n")
    )
