"""Write the declarations of what gradcore derives from its op registry when it is imported.

Type checkers and editors do not run the code, so they read these instead: `gradcore/__init__.pyi` declares the
functions of the package, `gradcore/tensor/_methods.pyi` what `gradcore.tensor.methods` adds to `Tensor`.

    python scripts/generate_stubs.py            # write both
    python scripts/generate_stubs.py --check    # fail if either is not what would be written
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import gradcore  # noqa: E402
from gradcore.tensor import CREATION, FUNCTIONS, Tensor, methods  # noqa: E402
from gradcore.tensor.functions import METHODS  # noqa: E402

WIDTH = 120
NAME = re.compile(r"[A-Za-z_][\w.]*")

# What the names in the sources' annotations mean to a user. `int`, `float` and `bool` are dtypes and methods too, which
# hide the types from the declarations beside them.
TYPES = {
    "Array": "Tensor",
    "Device": "device",
    "DeviceLike": "device | str | _int",
    "Ints": "_int | Sequence[_int]",
    "Dims": "_int | Sequence[_int] | None",
    "Scalar": "Tensor",
    "Shape": "Sequence[_int]",
    "bool": "_bool",
    "dtypes.dtype": "dtype",
    "float": "_float",
    "int": "_int",
    **{
        name: name
        for name in (
            *("Any", "Generator", "None", "Self", "Sequence", "Tensor", "device", "dict", "dtype", "max_result"),
            *("median_result", "memory_format", "min_result", "np.ndarray", "object", "sort_result", "str"),
            *("topk_result", "tuple"),
        )
    },
}

# Functions that find out from their arguments which of PyTorch's overloads is meant.
_SPREAD = (
    "(input: Tensor, dim: Dims = None, *, correction: float | None = 1, keepdim: bool = False) -> Tensor",
    "(input: Tensor, dim: Dims = None, *, unbiased: bool, keepdim: bool = False) -> Tensor",
    "(input: Tensor, dim: Dims, unbiased: bool, keepdim: bool = False) -> Tensor",
)
_RANDINT = (
    "size: Sequence[int], *, generator: Generator | None = None, dtype: dtypes.dtype | None = None, "
    "device: DeviceLike | None = None, requires_grad: bool = False"
)
OVERLOADS = {
    **{
        name: (
            "(input: Tensor) -> Tensor",
            "(input: Tensor, other: Tensor) -> Tensor",
            f"(input: Tensor, dim: int, keepdim: bool = False) -> {name}_result",
        )
        for name in ("max", "min")
    },
    "median": (
        "(input: Tensor) -> Tensor",
        "(input: Tensor, dim: int, keepdim: bool = False) -> median_result",
    ),
    "random_": (
        "(self: Tensor, *, generator: Generator | None = None) -> Tensor",
        "(self: Tensor, to: int, *, generator: Generator | None = None) -> Tensor",
        "(self: Tensor, from_: int, to: int | None, *, generator: Generator | None = None) -> Tensor",
    ),
    "randint": (f"(high: int, {_RANDINT}) -> Tensor", f"(low: int, high: int, {_RANDINT}) -> Tensor"),
    "std": _SPREAD,
    "var": _SPREAD,
}

PACKAGE = '''\
"""The names of `gradcore`, for type checkers and editors. Written by scripts/generate_stubs.py."""

from builtins import bool as _bool
from builtins import float as _float
from builtins import int as _int
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

'''
MIXIN = '''\
"""What the registry adds to `Tensor`, for type checkers and editors. Written by scripts/generate_stubs.py."""

from builtins import bool as _bool
from builtins import float as _float
from builtins import int as _int
from collections.abc import Sequence
from typing import Any, overload

from typing_extensions import Self

from ..autograd.variable import Variable
from ..devices import device
from ..dtypes import dtype
from ..formats import memory_format
from .functions import max_result, median_result, min_result
from .random import Generator
from .selecting import sort_result, topk_result
from .tensor import Tensor

class TensorMethods(Variable):
'''


def annotation(text: str, position: int = 0) -> str:
    """An annotation of the sources in a user's words; only the first operand of an elementwise op must be a tensor."""

    def translated(match: re.Match[str]) -> str:
        if match[0] not in TYPES:
            raise SystemExit(f"generate_stubs: say in TYPES what {match[0]!r} in the annotation {text!r} means")
        return "Tensor | _float" if match[0] == "Scalar" and position else TYPES[match[0]]

    return NAME.sub(translated, text)


def parameter(p: inspect.Parameter, position: int) -> str:
    """A parameter as it is written."""
    stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    text = f"{stars}{p.name}: {annotation(p.annotation, position)}"
    if p.default is p.empty:
        return text
    literal = isinstance(p.default, (type(None), bool, int, float, str, tuple))
    return f"{text} = {p.default!r}".replace("'", '"') if literal else f"{text} = ..."


def definition(name: str, signature: inspect.Signature, doc: str | None, indent: str = "", returns: str = "") -> str:
    """One declaration, laid out as ruff does; with `indent` a method."""
    given = [signature.return_annotation, *(p.annotation for p in list(signature.parameters.values())[bool(indent) :])]
    if signature.empty in given:
        raise SystemExit(f"generate_stubs: annotate all parameters and the result of {name}(){signature}")
    items: list[str] = []
    for position, p in enumerate(signature.parameters.values()):
        if p.kind is p.KEYWORD_ONLY and not any(item.startswith("*") for item in items):
            items.append("*")
        items.append("self" if indent and position == 0 else parameter(p, position))
    end = f") -> {returns or annotation(signature.return_annotation)}:"
    body = " ..."
    if doc:  # its first paragraph
        text = " ".join(doc.partition("\n\n")[0].split())
        body = "\n" + textwrap.indent(textwrap.fill(f'"""{text}"""', WIDTH - len(indent) - 4), indent + "    ")
    for inner in (", ".join(items), f"\n{indent}    {', '.join(items)}\n{indent}"):
        lines = f"{indent}def {name}({inner}{end}{body}".split("\n")
        if max(map(len, lines)) <= WIDTH:
            return "\n".join(lines) + "\n"
    each = "".join(f"{indent}    {item},\n" for item in items)
    return f"{indent}def {name}(\n{each}{indent}{end}{body}\n"


def signature_of(text: str) -> inspect.Signature:
    """The signature `(a: A, ...) -> B`."""
    scope: dict[str, Any] = {}
    exec(f"from __future__ import annotations\ndef function{text}: ...", scope)
    return inspect.signature(scope["function"])


def signatures(name: str, function: Any) -> list[inspect.Signature]:
    """The ways to call a function."""
    if name in OVERLOADS:
        return [signature_of(text) for text in OVERLOADS[name]]
    own = inspect.signature(function)
    varargs = getattr(getattr(function, "op", None), "varargs", None)
    if varargs is None:
        return [own]
    # reshape((2, 3)) and reshape(2, 3)
    *others, last = own.parameters.values()
    return [own, own.replace(parameters=[*others, last.replace(kind=last.VAR_POSITIONAL, annotation="int")])]


def declarations(name: str, function: Any, indent: str = "") -> Iterator[str]:
    """The declarations of a function, or (with `indent`) of a method."""
    found = signatures(name, function)
    if indent:  # functions alone have it in PyTorch
        found = [s.replace(parameters=[p for p in s.parameters.values() if p.name != "out"]) for s in found]
    for signature in found:
        # Methods that change the tensor return it, whatever its class.
        returns = "Self" if indent and name.endswith("_") else ""
        text = definition(name, signature, inspect.getdoc(function), indent, returns)
        yield f"{indent}@overload\n{text}" if len(found) > 1 else text


def operators() -> Iterator[str]:
    """The declarations of Python's operators."""
    unary, indent = signature_of("(self: Tensor) -> Tensor"), "    "
    for symbol, name in {**methods.BINARY, **methods.COMPARISON}.items():
        other = list(inspect.signature(FUNCTIONS[name]).parameters.values())[1].annotation
        either = "Tensor" if other == "Array" else "Tensor | float"
        binary = signature_of(f"(self: Tensor, other: {either}) -> Tensor")
        if symbol in ("eq", "ne"):
            text = definition(f"__{symbol}__", signature_of("(self: Tensor, other: object) -> Tensor"), None, indent)
            yield text.replace("...", "...  # type: ignore[override]")
            continue
        yield definition(f"__{symbol}__", binary, None, indent)
        if symbol in methods.BINARY:
            yield definition(f"__r{symbol}__", binary, None, indent)
        if f"__i{symbol}__" in vars(Tensor):
            yield definition(f"__i{symbol}__", binary, None, indent, "Self")
    yield definition("__rdiv__", signature_of("(self: Tensor, other: Tensor | float) -> Tensor"), None, indent)
    for symbol in methods.UNARY:
        yield definition(f"__{symbol}__", unary, None, indent)
    for name in ("__getitem__", "__setitem__"):
        yield definition(name, inspect.signature(vars(Tensor)[name]), None, indent)


def mixin() -> str:
    """The text of gradcore/tensor/_methods.pyi."""
    out = [text for name, function in METHODS.items() for text in declarations(name, function, "    ")]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation="Tensor")
    for name, function in vars(Tensor).items():
        if name.startswith("new_"):
            made = inspect.signature(CREATION[name.removeprefix("new_")])
            signature = made.replace(parameters=[itself, *made.parameters.values()])
            out.append(definition(name, signature, inspect.getdoc(function), "    "))
    return MIXIN + "".join([*out, *operators()])


def package() -> str:
    """The text of gradcore/__init__.pyi: what the package imports, again, and what it derives."""
    public = set(gradcore.__all__)
    imports: dict[str, list[str]] = {}
    for statement in ast.walk(ast.parse((ROOT / "gradcore" / "__init__.py").read_text())):
        if isinstance(statement, ast.ImportFrom) and statement.level:
            module = f".{statement.module or ''}"
            for name in (alias.name for alias in statement.names if alias.asname is None and alias.name in public):
                imports.setdefault(module, []).append(f"from {module} import {name} as {name}\n")
                public.remove(name)
    imports.setdefault(".tensor.functions", []).append(
        "from .tensor.functions import max_result, median_result, min_result\n"
    )
    imports.setdefault(".tensor.selecting", []).append("from .tensor.selecting import sort_result, topk_result\n")
    imports["."].sort()  # (`__init__` imports them in the order in which they need each other)
    functions = {name: f for name, f in {**CREATION, **FUNCTIONS}.items() if name in public}
    variables = ["__version__: str\n"]
    for name in sorted(public - set(functions)):
        value = getattr(gradcore, name)
        variables.append(f"{name}: {'_float' if isinstance(value, float) else type(value).__name__}\n")
    texts = [text for name, f in functions.items() for text in declarations(name, f)]
    lines = [line for module in sorted(imports) for line in imports[module]]
    return PACKAGE + "".join(lines) + "\n" + "".join(variables) + "\n" + "\n".join(texts)


STUBS = {"gradcore/__init__.pyi": package, "gradcore/tensor/_methods.pyi": mixin}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the declarations of what gradcore derives at import.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    check = parser.parse_args().check
    stale = []
    for path, text_of in STUBS.items():
        file, text = ROOT / path, text_of()
        if not file.exists() or file.read_text() != text:
            stale.append(path)
            if not check:
                file.write_text(text)
    if check and stale:
        print(f"not up to date: {', '.join(stale)}; run `python scripts/generate_stubs.py`", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
