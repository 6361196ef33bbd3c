"""Writes python/pythiascope/_c/structures.py from the public headers.

The module declares the C interface to ctypes: enumerators and numeric macros as integers, the
table of hook points, every structure, every callback type, and the prototype of every function.

usage: make_python_structures.py [--check] [--module FILE.py] [--layout FILE.c]

--check compares with the committed module and writes nothing; it exits with 1 when they differ.
--module names another file than the committed module.
--layout writes a C program instead, which prints the size of every structure, the offset of every
member and the value of every enumerator and macro, one per line.

Needs pycparser and a C compiler ($CC, else cc), as preprocessor only.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    from pycparser import c_ast, c_parser
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

ROOT = Path(__file__).resolve().parent.parent
HEADERS = ROOT / "include" / "pythiascope"
TARGET = ROOT / "python" / "pythiascope" / "_c" / "structures.py"

# The headers include these only; with such stand-ins the parser needs nothing of the system's.
STAND_INS = {
    "stdint.h": "typedef signed char int8_t; typedef short int16_t; typedef int int32_t;"
    "typedef long int64_t; typedef unsigned char uint8_t; typedef unsigned short uint16_t;"
    "typedef unsigned int uint32_t; typedef unsigned long uint64_t;\n",
    "stddef.h": "typedef unsigned long size_t;\n",
    "stdarg.h": "typedef int va_list;\n",
    "stdio.h": "typedef struct FILE FILE;\n",
    "stdbool.h": "#define bool _Bool\n",
}

SCALARS = {
    "int": ("ctypes.c_int", "int"),
    "_Bool": ("ctypes.c_bool", "bool"),
    "float": ("ctypes.c_float", "float"),
    "double": ("ctypes.c_double", "float"),
    "int32_t": ("ctypes.c_int32", "int"),
    "uint32_t": ("ctypes.c_uint32", "int"),
    "int64_t": ("ctypes.c_int64", "int"),
    "uint64_t": ("ctypes.c_uint64", "int"),
    "size_t": ("ctypes.c_size_t", "int"),
}

# Bytes that need not end with a 0 byte, by the name of the member or of the function that returns
# them: an address, not a Python bytes object.
RAW_MEMBERS = {"bytes"}
RAW_RESULTS = {"psc_model_token_bytes", "token_bytes", "text"}


class Headers:
    """The parsed headers: macros with numbers, enumerators, structures, callbacks, functions."""

    def __init__(self) -> None:
        source = "".join(f'#include "{path.name}"\n' for path in sorted(HEADERS.glob("*.h")))
        with tempfile.TemporaryDirectory() as folder:
            for name, text in STAND_INS.items():
                (Path(folder) / name).write_text(text)
            macros = self._preprocess(source, folder, "-dM")
            found = re.findall(r"^#define (PSC_\w+) +(.+)$", macros, re.MULTILINE)
            inits = [name for name, _ in found if name.endswith("_INIT")]
            source += "const char *points_table[] = {"
            source += "\n#define P(id, name, shape, layered) {#id, name, shape, layered},\n"
            source += "PSC_POINTS(P)};\nconst char *axes_table[] = {"
            source += "\n#define A(letter, member) {letter, #member},\nPSC_AXES(A)};\n"
            source += "".join(f"int init_of_{name} = {name};\n" for name in inits)
            parsed = c_parser.CParser().parse(self._preprocess(source, folder, "-P"))
        self.enums: dict[str, list[tuple[str, int]]] = {}
        self.structs: dict[str, list[c_ast.Decl]] = {}
        self.items: list[tuple[str, str]] = []  # ("struct" | "callback", name), in source order
        self.callbacks: dict[str, c_ast.FuncDecl] = {}
        self.functions: dict[str, c_ast.FuncDecl] = {}
        self.inits: dict[str, list[object]] = {}
        self.points: list[list[object]] = []
        self.axes: list[list[object]] = []
        self.values: dict[str, int] = {}
        for node in parsed.ext:
            if not isinstance(node, c_ast.FuncDef):  # psc_edges.h: inline, no symbol of the library
                self._take(node)
        self.macros = self._numbers(found)

    @staticmethod
    def _preprocess(source: str, stand_ins: str, *flags: str) -> str:
        command = [os.environ.get("CC", "cc"), "-E", "-nostdinc", "-U__GNUC__", *flags]
        command += ["-I", stand_ins, "-I", str(HEADERS), "-x", "c", "-"]
        run = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
        return run.stdout

    def _take(self, node: c_ast.Node) -> None:
        kind = node.type
        if isinstance(node, c_ast.Typedef):
            inner = kind.type
            if isinstance(inner, c_ast.Enum):
                self._enum(node.name, inner)
            elif isinstance(inner, c_ast.Struct) and inner.decls and "psc_" in node.name:
                self.structs[node.name] = inner.decls
                self.items.append(("struct", node.name))
            elif isinstance(kind, c_ast.PtrDecl) and isinstance(inner, c_ast.FuncDecl):
                self.callbacks[node.name] = inner
                self.items.append(("callback", node.name))
        elif isinstance(kind, c_ast.FuncDecl):
            self.functions[node.name] = kind
        elif node.init is not None and node.name == "points_table":
            self.points = [[self._value(x) for x in row.exprs] for row in node.init.exprs]
        elif node.init is not None and node.name == "axes_table":
            self.axes = [[self._value(x) for x in row.exprs] for row in node.init.exprs]
        elif node.init is not None:
            first = node.init.exprs[0]
            self.inits[first.expr.type.type.names[0]] = self._initial(node.init)

    def _initial(self, init: c_ast.InitList) -> list[object]:
        """The values after struct_size; a nested structure is a list of its own."""
        out: list[object] = []
        for value in init.exprs[1:]:
            nested = isinstance(value, c_ast.InitList)
            out.append(self._initial(value) if nested else self._value(value))
        return out

    def _enum(self, name: str, enum: c_ast.Enum) -> None:
        members = []
        value = -1
        for member in enum.values.enumerators:
            value = int(str(self._value(member.value))) if member.value is not None else value + 1
            members.append((member.name, value))
            self.values[member.name] = value
        self.enums[name] = members

    def _value(self, node: c_ast.Node) -> object:
        if isinstance(node, c_ast.UnaryOp):
            return -int(str(self._value(node.expr)))
        if isinstance(node, c_ast.ID):
            return self.values[node.name]
        if node.type == "string":
            return node.value.strip('"')
        if node.type == "char":
            return node.value.strip("'")
        return float(node.value) if node.type == "double" else int(node.value, 0)

    def _numbers(self, found: list[tuple[str, str]]) -> list[tuple[str, int]]:
        out = []
        for name, body in found:
            text = re.sub(r"\(u?int\d+_t\)", "", body)
            if re.fullmatch(r"[-+*<()\s\d]+", text) and re.search(r"\d", text):
                out.append((name, int(eval(text, {"__builtins__": {}}))))
        return sorted(out)


def base_name(node: c_ast.Node) -> str:
    while not isinstance(node, c_ast.IdentifierType):
        if isinstance(node, (c_ast.Struct, c_ast.Enum)):
            return str(node.name)
        node = node.type
    return str(node.names[-1]) if len(node.names) == 1 else " ".join(node.names)


def extent(node: c_ast.Node) -> int:
    """The number of elements of an array: a constant or a sum of constants."""
    if isinstance(node, c_ast.BinaryOp) and node.op == "+":
        return extent(node.left) + extent(node.right)
    return int(node.value, 0)


class Types:
    """C types as ctypes expressions, with the annotation of a member of that type."""

    def __init__(self, headers: Headers) -> None:
        self.headers = headers

    def of(self, node: c_ast.Node, name: str, role: str = "member") -> tuple[str, str]:
        """role: "member", "argument" or "result"."""
        if isinstance(node, c_ast.ArrayDecl):
            if role == "argument":
                return "ctypes.c_void_p", "Any"
            inner, _ = self.of(node.type, name)
            size = extent(node.dim)
            text = base_name(node) == "char"
            return f"{inner} * {size}", "Text" if text else "Any"
        if isinstance(node, c_ast.PtrDecl):
            return self._pointer(node.type, name, role)
        base = base_name(node)
        if base == "char":
            return "ctypes.c_char", "Text"
        if base in self.headers.enums:
            return "ctypes.c_int", "int"
        if base in SCALARS:
            return SCALARS[base]
        return base, "Any" if base in self.headers.callbacks else base

    def _pointer(self, to: c_ast.Node, name: str, role: str) -> tuple[str, str]:
        if isinstance(to, c_ast.FuncDecl):
            return self.function(to, name), "Any"
        base = base_name(to)
        if isinstance(to, c_ast.PtrDecl):
            text = base == "char" and name != "out" and "const" in to.type.quals
            inner = "ctypes.c_char_p" if text else "ctypes.c_void_p"
            return f"ctypes.POINTER({inner})", "Any"
        raw = {"member": RAW_MEMBERS, "argument": (), "result": RAW_RESULTS}[role]
        if base == "char" and "const" in to.quals and name not in raw:
            return "ctypes.c_char_p", "Text"
        if base in self.headers.structs:
            return f"ctypes.POINTER({base})", "Any"
        scalar = SCALARS[base][0] if base in SCALARS else ""
        if base in self.headers.enums:
            scalar = "ctypes.c_int"
        input_array = role == "argument" and "const" in to.quals
        if scalar in ("", "ctypes.c_float") or input_array:
            return "ctypes.c_void_p", "Address"
        return f"ctypes.POINTER({scalar})", "Any"

    def parameters(self, function: c_ast.FuncDecl) -> list[str]:
        out = []
        for parameter in function.args.params:
            if isinstance(parameter, c_ast.EllipsisParam):
                continue
            kind = parameter.type
            if isinstance(kind, c_ast.TypeDecl) and base_name(kind) == "void":
                continue
            out.append(self.of(kind, getattr(parameter, "name", None) or "", "argument")[0])
        return out

    def result(self, function: c_ast.FuncDecl, name: str) -> str:
        if isinstance(function.type, c_ast.TypeDecl) and base_name(function.type) == "void":
            return "None"
        return self.of(function.type, name, "result")[0]

    def function(self, function: c_ast.FuncDecl, name: str) -> str:
        parts = [self.result(function, name), *self.parameters(function)]
        return f"ctypes.CFUNCTYPE({', '.join(parts)})"


def broken(line: str) -> str:
    """Breaks a line that is longer than 100 columns inside its outermost brackets."""
    if len(line) <= 100:
        return line
    indent = " " * (len(line) - len(line.lstrip()))
    opening = line.index("(")
    closing = line.rindex(")")
    inner, depth, start = [], 0, opening + 1
    for at in range(opening + 1, closing):
        depth += (line[at] in "([") - (line[at] in ")]")
        if line[at] == "," and depth == 0:
            inner.append(line[start : at + 1].strip())
            start = at + 1
    last = line[start:closing].strip()
    inner += [last + ","] if last else []
    body = "\n".join(broken(f"{indent}    {part}") for part in inner)
    return f"{line[: opening + 1]}\n{body}\n{indent}{line[closing:]}"


def skipped(function: c_ast.FuncDecl) -> bool:
    """Variadic functions, and those that take a FILE or a va_list, are not for Python."""
    for parameter in function.args.params:
        if isinstance(parameter, c_ast.EllipsisParam):
            return True
        if base_name(parameter.type) in ("FILE", "va_list"):
            return True
    return False


HEAD = '''"""The C interface of pythiascope for ctypes.

Generated by tools/make_python_structures.py from include/pythiascope/*.h; do not edit.

Structures that open with struct_size start from their _INIT values: psc_run_options() is
PSC_RUN_OPTIONS_INIT. An element of a ctypes array does not; set it to such an object. A pointer to
floats, to nothing in particular, or to bytes without an end is an address (int or None). A
callback that is a member of a structure has the type STRUCTURE_MEMBER.
"""

from __future__ import annotations

import ctypes
from typing import Any

Text = bytes | None  # ends with a 0 byte
Address = int | None

'''


class Writer:
    """Collects the lines of the generated module."""

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.types = Types(headers)
        self.lines: list[str] = []

    def put(self, line: str = "") -> None:
        self.lines.append(broken(line))

    def write(self) -> str:
        for name, value in self.headers.macros:
            self.put(f"{name} = {value}")
        for enum, members in self.headers.enums.items():
            self.put(f"\n# {enum}")
            for name, value in members:
                self.put(f"{name} = {value}")
        self._tables()
        for kind, name in self.headers.items:
            if kind == "struct":
                self._structure(name)
            else:
                self.put()
                self.put()
                self.put(f"{name} = {self.types.function(self.headers.callbacks[name], name)}")
        self._names()
        self._functions()
        return HEAD + "\n".join(self.lines) + "\n"

    def _tables(self) -> None:
        self.put("\n# Of each hook point, by its number: its name, the letters of its shape after")
        self.put("# the rows, and whether every layer has it.")
        self.put("POINTS: tuple[tuple[str, str, bool], ...] = (")
        for _, name, shape, layered in self.headers.points:
            self.put(f'    ("{name}", "{shape}", {bool(layered)}),')
        self.put(")")
        self.put("# The letters of shapes, and the members of psc_model_info: their extents.")
        self.put("AXES: dict[str, str] = {")
        for letter, member in self.headers.axes:
            self.put(f'    "{letter}": "{member}",')
        self.put("}")

    def _structure(self, name: str) -> None:
        members = []
        inline = []
        for member in self.headers.structs[name]:
            kind, annotation = self.types.of(member.type, member.name)
            if kind.startswith("ctypes.CFUNCTYPE("):
                inline.append(f"{name}_{member.name} = {kind}")
                kind = f"{name}_{member.name}"
            members.append((member.name, kind, annotation))
        self.put("\n" if inline else "")
        for line in inline:
            self.put(line)
        self.put(f"\n\nclass {name}(ctypes.Structure):")
        for member, _, annotation in members:
            self.put(f"    {member}: {annotation}")
        self.put("    _fields_ = (")
        for member, kind, _ in members:
            self.put(f'        ("{member}", {kind}),')
        self.put("    )")
        if any(member == "struct_size" for member, _, _ in members):
            self._initializer(name, [member for member, _, _ in members])

    def _initializer(self, name: str, members: list[str]) -> None:
        initial = self.headers.inits.get(name, [])
        rest = members[members.index("struct_size") + 1 :]
        self.put("\n    def __init__(self, **values: Any) -> None:")
        self.put("        super().__init__()")
        self.put(f"        self.struct_size = ctypes.sizeof({name})")
        for member, value in zip(rest, initial):
            if isinstance(value, list):
                kind = self.types.of(self._member(name, member).type, member)[0]
                if any(value):
                    raise SystemExit(f"{name}.{member}: a nested _INIT with values")
                self.put(f"        self.{member}.struct_size = ctypes.sizeof({kind})")
            elif value:
                self.put(f"        self.{member} = {value}")
        self.put("        for member, value in values.items():")
        self.put("            setattr(self, member, value)")

    def _member(self, name: str, member: str) -> c_ast.Decl:
        return next(m for m in self.headers.structs[name] if m.name == member)

    def _names(self) -> None:
        self.put("\n\n# All structures, for a test of their layout.")
        self.put("STRUCTURES: tuple[type[ctypes.Structure], ...] = (")
        for name in self.headers.structs:
            self.put(f"    {name},")
        self.put(")")

    def _functions(self) -> None:
        self.put("\n# The result and the arguments of every function.")
        self.put("FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {")
        for name, function in self.headers.functions.items():
            if skipped(function):
                continue
            parameters = self.types.parameters(function)
            tail = "," if len(parameters) == 1 else ""
            arguments = f"({', '.join(parameters)}{tail})"
            entry = f'    "{name}": ({self.types.result(function, name)}, {arguments}),'
            self.put(entry)
        self.put("}")
        self.put("\n\ndef declare(library: ctypes.CDLL) -> list[str]:")
        self.put('    """Declares all functions; returns the names that the library lacks."""')
        self.put("    missing = []")
        self.put("    for name, (result, arguments) in FUNCTIONS.items():")
        self.put("        function = getattr(library, name, None)")
        self.put("        if function is None:")
        self.put("            missing.append(name)")
        self.put("        else:")
        self.put("            function.restype = result")
        self.put("            function.argtypes = arguments")
        self.put("    return missing")


def layout_program(headers: Headers) -> str:
    """A C program that prints what ctypes must agree with."""
    lines = ["#include <stdio.h>", "#include <stddef.h>"]
    lines += [f'#include "{path.name}"' for path in sorted(HEADERS.glob("*.h"))]
    lines += ["int main(void) {"]
    for name, members in headers.structs.items():
        lines.append(f'    printf("{name} %zu\\n", sizeof({name}));')
        for member in members:
            where = f"{name}, {member.name}"
            size = f"sizeof((({name} *)0)->{member.name})"
            label = f'"{name}.{member.name} %zu %zu\\n"'
            lines.append(f"    printf({label}, offsetof({where}), {size});")
    numbers = [name for name, _ in headers.macros]
    numbers += [name for members in headers.enums.values() for name, _ in members]
    lines += [f'    printf("{name} %lld\\n", (long long)({name}));' for name in numbers]
    return "\n".join([*lines, "    return 0;", "}"]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--module", type=Path, default=TARGET)
    parser.add_argument("--layout", type=Path)
    arguments = parser.parse_args()
    headers = Headers()
    if arguments.layout:
        arguments.layout.write_text(layout_program(headers))
        return 0
    text = Writer(headers).write()
    if arguments.check:
        if arguments.module.read_text() == text:
            return 0
        print(f"{arguments.module} is not what the headers say; run tools/{Path(__file__).name}")
        return 1
    arguments.module.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
