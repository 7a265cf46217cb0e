"""Mutants of one module: every small change of the syntax tree that a test ought to notice."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

OPPOSITES: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "//",
    ast.FloorDiv: "*",
    ast.Div: "*",
    ast.Mod: "+",
}
# Log lines are for people, and failpoints do nothing outside tests.
UNWATCHED = frozenset({"logger", "log", "logging", "failpoints"})
# For people who debug.
UNREAD = frozenset({"__repr__", "__str__"})
# Units (1000 ms) and tuned numbers: one more or less is the same to everybody. Uses of both have mutants of their own.
LARGEST_COUNTED = 10


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module: which bytes are replaced by which text."""

    path: str
    line: int
    start: int
    end: int
    before: str
    after: str

    def applied(self, source: bytes) -> bytes:
        """The module's text with this change."""
        return source[: self.start] + self.after.encode() + source[self.end :]

    @property
    def change(self) -> str:
        """The change in one line, for tables."""
        before, after = " ".join(self.before.split()), " ".join(self.after.split())
        return f"{before} → {after}"


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Every mutant of a module, in the order of its text."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    root, made = ast.parse(source), set()
    constructors = {part for node in ast.walk(root) if _constructs(node) for part in ast.walk(node)}
    for node, after in _changes(root):
        if isinstance(node, ast.Assign) and node in constructors:
            continue  # an attribute that was never set fails at once: such mutants would only flatter the score
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        before = source[start:end].decode()
        made.add(Mutant(path, node.lineno, start, end, before, after))
    return sorted(made, key=lambda mutant: (mutant.start, mutant.end, mutant.after))


def _changes(root: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Each changeable node with the text that takes its place."""
    queue: list[ast.AST] = [root]
    while queue:
        node = queue.pop()
        queue.extend(_children(node))
        if isinstance(node, ast.expr):
            for after in _expressions(node):
                yield node, after
        elif isinstance(node, ast.stmt):
            for after in _statements(node):
                yield node, after
        test = _condition(node)
        if test is not None and not _for_types(test) and not isinstance(test, ast.Compare | ast.UnaryOp | ast.Constant):
            yield test, f"(not ({ast.unparse(test)}))"


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that run: neither annotations, nor log lines, nor blocks for the type checker."""
    if isinstance(node, ast.JoinedStr) or _unwatched(node):
        return  # before Python 3.12 the parts of an f-string have no true place in the text
    if isinstance(node, ast.If) and _for_types(node.test):
        return
    if isinstance(node, ast.FunctionDef) and node.name in UNREAD:
        return
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return  # zip(strict=…) guards what the line before has just made equally long
    for name, field in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_params"}:
            continue
        if name in {"defaults", "kw_defaults"} or (name == "value" and _tunes(node)):
            continue  # a default that everybody names is read by nobody
        yield from (part for part in (field if isinstance(field, list) else [field]) if isinstance(part, ast.AST))


def _condition(node: ast.AST) -> ast.expr | None:
    """What a branch or loop asks."""
    return node.test if isinstance(node, ast.If | ast.While | ast.IfExp) else None


def _expressions(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for at in range(len(ops)):
                terms = [ast.unparse(left)]
                for index, (operator, right) in enumerate(zip(ops, comparators, strict=True)):
                    sign = OPPOSITES[type(operator)] if index == at else _SIGNS[type(operator)]
                    terms += [sign, ast.unparse(right)]
                yield f"({' '.join(terms)})"
        case ast.BoolOp(op=operator, values=values):
            other = " or " if isinstance(operator, ast.And) else " and "
            yield f"({other.join(f'({ast.unparse(value)})' for value in values)})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"({ast.unparse(operand)})"
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value)) if value <= LARGEST_COUNTED:
            yield str(value + 1)
            yield f"({value - 1})"
        case ast.Constant(value=float(value)) if value <= LARGEST_COUNTED:
            yield str(value + 1)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in ARITHMETIC and not _texts(left, right):
            yield f"({ast.unparse(left)} {ARITHMETIC[type(operator)]} {ast.unparse(right)})"
        case _:
            return


def _statements(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) if not _unwatched(node):
            yield "pass"
        case ast.Delete(targets=targets) if all(isinstance(target, ast.Name) for target in targets):
            return  # `del name` says that an argument is not used
        case ast.AugAssign() | ast.Delete() | ast.Raise():
            yield "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "pass"
        case ast.Return(value=value) if value is not None and ast.unparse(value) != "None":
            yield "return None"
        case _:
            return


def _for_types(test: ast.expr) -> bool:
    return ast.unparse(test) == "TYPE_CHECKING"


def _constructs(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "__init__"


def _tunes(node: ast.AST) -> bool:
    """Whether a statement names a number: a constant in capitals, or a field's default."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name.isupper()
        case ast.AnnAssign(target=ast.Name()):
            return isinstance(node.value, ast.Constant)
        case _:
            return False


def _texts(*terms: ast.expr) -> bool:
    """Whether an operator joins texts or lists, which have no difference or product: such mutants only flatter."""
    return any(
        isinstance(term, ast.JoinedStr | ast.List | ast.Tuple | ast.ListComp)
        or (isinstance(term, ast.Constant) and isinstance(term.value, str | bytes))
        for term in terms
    )


def _unwatched(node: ast.AST) -> bool:
    """Whether a statement writes a log line."""
    value = node.value if isinstance(node, ast.Expr) else None
    value = value.value if isinstance(value, ast.Await) else value
    return isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[0] in UNWATCHED


_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}
