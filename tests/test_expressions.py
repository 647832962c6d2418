"""Every regular expression of the project takes time in proportion to its input, whoever wrote that.

A search that begins anew at each position, or a repetition whose text another can take as well, makes quadratic or
exponential work of a hostile text. The expressions are found in the sources; hostile texts are made out of each one's own
characters: something that leads into it, something repeated, something that it refuses.
"""

import ast
import re
import time
from collections.abc import Iterator
from itertools import product
from re import _constants as opcodes
from re import _parser as parser

import pytest

from tests.conftest import ROOT

SOURCES = [path for folder in ("toolkit", "export", "benchmarks") for path in sorted(ROOT.glob(f"{folder}/**/*.py"))]
FUNCTIONS = ("compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")
NOT_LITERAL = {"benchmarks/quantization.py"}  # asks for names of layers by an expression of its own command line
LENGTH = 4_000  # characters
NOTICEABLE = 0.001  # seconds for so many; linear work takes a fifth, quadratic six times as much


def expressions(tree: ast.AST) -> Iterator[tuple[str | None, int, str]]:
    """Of each use of `re`: the expression, None where it is no literal; its flags; the function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {f"re.{name}" for name in FUNCTIONS}:
            function = node.func.attr
            flags = [ast.unparse(each.value) for each in node.keywords if each.arg == "flags"]
            flags += [ast.unparse(each) for each in node.args[1:] if ast.unparse(each).startswith("re.")]
            value = sum(getattr(re, name) for text in flags for name in re.findall(r"re\.([A-Z]+)", text))
            yield literal(node.args[0]), value, "sub" if function == "compile" else function


def literal(node: ast.expr) -> str | None:
    """The text of a string or an f-string, in which every value is `x`."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else node.value.decode("latin-1")
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
    return None


def found() -> list[tuple[str, str, int, str]]:
    uses = [
        (path.relative_to(ROOT).as_posix(), *use)
        for path in SOURCES
        for use in expressions(ast.parse(path.read_text()))
    ]
    assert {file for file, pattern, *_ in uses if pattern is None} == NOT_LITERAL
    return [use for use in uses if use[1] is not None]


def leads(tree, before: str = "") -> Iterator[tuple[str, str]]:
    """For each character or repetition in an expression, a text that leads there and a character of its own."""
    for operation, argument in tree:
        if operation is opcodes.SUBPATTERN:
            yield from leads(argument[3], before)
        elif operation in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT, opcodes.POSSESSIVE_REPEAT):
            yield from leads(argument[2], before)
        elif operation is opcodes.ATOMIC_GROUP:
            yield from leads(argument, before)
        elif operation is opcodes.BRANCH:
            for branch in argument[1]:
                yield from leads(branch, before)
        elif operation in (opcodes.LITERAL, opcodes.NOT_LITERAL, opcodes.IN, opcodes.ANY):
            yield before, character(operation, argument)
        before += shortest([(operation, argument)])


def shortest(tree) -> str:
    """Some short text that an expression takes, repetitions once."""
    text = ""
    for operation, argument in tree:
        if operation is opcodes.SUBPATTERN:
            text += shortest(argument[3])
        elif operation in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT, opcodes.POSSESSIVE_REPEAT):
            text += shortest(argument[2]) * argument[0]
        elif operation is opcodes.ATOMIC_GROUP:
            text += shortest(argument)
        elif operation is opcodes.BRANCH:
            text += shortest(argument[1][0])
        elif operation in (opcodes.LITERAL, opcodes.NOT_LITERAL, opcodes.IN, opcodes.ANY):
            text += character(operation, argument)
    return text


def character(operation, argument) -> str:
    if operation is opcodes.LITERAL:
        return chr(argument)
    pattern = re.compile({opcodes.NOT_LITERAL: lambda: f"[^{re.escape(chr(argument))}]", opcodes.ANY: lambda: "."}.get(
        operation, lambda: members(argument))())  # fmt: skip
    return next(each for each in " a0.<\"'!A+e\n\xe9\u4e00\ud800\udc80[\u3002\uff0c" if pattern.match(each))


def members(items) -> str:
    """A class of characters as it is spelt."""
    categories = {
        opcodes.CATEGORY_SPACE: r"\s", opcodes.CATEGORY_NOT_SPACE: r"\S", opcodes.CATEGORY_DIGIT: r"\d",
        opcodes.CATEGORY_NOT_DIGIT: r"\D", opcodes.CATEGORY_WORD: r"\w", opcodes.CATEGORY_NOT_WORD: r"\W",
    }  # fmt: skip
    text = ""
    for operation, argument in items:
        if operation is opcodes.NEGATE:
            text += "^"
        elif operation is opcodes.LITERAL:
            text += re.escape(chr(argument))
        elif operation is opcodes.RANGE:
            text += f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
        else:
            text += categories[argument]
    return f"[{text}]"


def attacks(pattern: str, flags: int) -> list[tuple[str, str, str]]:
    """What comes first, what is repeated, what comes last."""
    known = list(dict.fromkeys(leads(parser.parse(pattern, flags))))
    befores = list(dict.fromkeys(before for before, _ in known))
    alphabet = list(dict.fromkeys(own for _, own in known))[:12]
    repeated = [*alphabet, *("".join(pair) for pair in product(alphabet, repeat=2))]
    repeated += [before + own for before, own in known]
    return [
        (before, each, last) for before in ["", *befores] for each in dict.fromkeys(repeated) for last in ("", "\x01")
    ]


def seconds(pattern: re.Pattern[str], function: str, text: str) -> float:
    """The least of three times, or one that is too short to matter."""
    arguments = ("", text) if function in ("sub", "subn") else (text,)
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        result = getattr(pattern, function)(*arguments)
        if function == "finditer":
            list(result)
        best = min(best, time.perf_counter() - started)
        if best < NOTICEABLE:
            break
    return best


def growing(pattern: str, flags: int, function: str) -> str | None:
    """A text of which twice as much takes almost three times as long or more; None where there is none."""
    compiled = re.compile(pattern, flags)
    for before, each, last in attacks(pattern, flags):
        if any(seconds(compiled, function, before + each * repeats + last) > NOTICEABLE for repeats in (16, 22)):
            return f"{before!r} + 22 * {each!r} + {last!r}"  # exponential
        once, twice = (before + each * (length // len(each)) + last for length in (LENGTH, 2 * LENGTH))
        taken = seconds(compiled, function, once)
        if taken > NOTICEABLE and seconds(compiled, function, twice) > 2.8 * taken:
            return f"{before!r} + many {each!r} + {last!r}"
    return None


@pytest.mark.parametrize(
    ("pattern", "linear"),
    [
        (r"<\s*br\s*/?\s*>", False), (r"[.!?]+[\"')]*$", False), (r"(a+)+$", False), (r"(?:x|xx)*y", False), (r"a.*b.*c", False),
        (r'<link\b[^>]*"https?://[^>]*>', False), (r"<\s*+br\s*+/?\s*+>", True), (r"^[a-z]+\.$", True), (r"[\ud800-\udfff]", True),
    ],
)  # fmt: skip
def test_the_search_tells_them_apart(pattern, linear):
    assert (growing(pattern, 0, "sub") is None) == linear


def test_every_use_is_seen():
    tree = ast.parse('re.compile(rb"a", re.I | re.M)\nre.fullmatch(rf"{b}c", d)\nre.sub(e, f, g)')
    assert list(expressions(tree)) == [("a", re.I | re.M, "sub"), ("xc", 0, "fullmatch"), (None, 0, "sub")]
    assert len(found()) > 6


@pytest.mark.parametrize(
    ("pattern", "flags", "function"), [pytest.param(*use, id=f"{file}-{use[0]}") for file, *use in found()]
)
def test_twice_the_text_takes_twice_the_time(pattern, flags, function):
    assert growing(pattern, flags, function) is None
