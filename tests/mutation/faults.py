"""The faults that are planted: one changed operator, constant, branch or statement at a time.

What cannot change an answer is left alone: docstrings, annotations, decorators, the words of
error messages. run.py plants them and asks the tests.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}


@dataclass(frozen=True)
class Fault:
    """The ``number``-th fault of a file: where it stands, and the code before and after."""

    number: int
    line: int
    before: str
    after: str


class Planter(ast.NodeTransformer):
    """Walks a module, lists every fault that could be planted, and plants the wanted one."""

    def __init__(self, wanted: int = -1) -> None:
        self.wanted = wanted
        self.faults: list[Fault] = []

    def offered(self, node: ast.AST, *others: ast.AST) -> ast.AST:
        """Note each of ``others`` as a fault in the place of ``node``; return what is wanted."""
        chosen = node
        for other in others:
            if len(self.faults) == self.wanted:
                chosen = ast.copy_location(other, node)
            before, after = (
                " ".join(ast.unparse(ast.fix_missing_locations(n)).split())[:90]
                for n in (node, other)
            )
            self.faults.append(Fault(len(self.faults), getattr(node, "lineno", 0), before, after))
        return chosen

    def visited(self, node: ast.AST) -> ast.AST:
        return super().generic_visit(node)

    # -- what is left alone

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return self.offered(node, ast.Pass())

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        node.args.kw_defaults = [d and self.visit(d) for d in node.args.kw_defaults]
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        names = [t.id for t in node.targets if isinstance(t, ast.Name)]
        return node if {"__slots__", "__all__"} & set(names) else self.visited(node)

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        # zip(strict=True) and field(compare=False) are promises to the reader and to dataclasses.
        return node if node.arg in ("strict", "compare", "repr") else self.visited(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node
        return self.negated(node)

    # -- what is changed

    def negated(self, node: ast.If | ast.IfExp | ast.While) -> ast.AST:
        test = copy.deepcopy(node.test)
        node = self.visited(node)  # type: ignore[assignment]
        changed = self.offered(test, ast.UnaryOp(ast.Not(), test))
        if changed is not test:
            node.test = changed  # type: ignore[assignment]
        return node

    visit_IfExp = visit_While = negated  # noqa: N815 - ast's naming

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.visited(node)
        node.ifs = [self.offered(test, ast.Constant(True)) for test in node.ifs]  # type: ignore[misc]
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        original = self.visited(node)
        others = []
        for at, sign in enumerate(node.ops):
            for other in COMPARISONS[type(sign)]:
                signs = [*node.ops[:at], other(), *node.ops[at + 1 :]]
                others.append(ast.Compare(node.left, signs, node.comparators))
        return self.offered(original, *others)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.visited(node)
        if type(node.op) not in ARITHMETIC:
            return node
        return self.offered(node, ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.visited(node)
        if type(node.op) not in ARITHMETIC:
            return node
        return self.offered(
            node, ast.AugAssign(node.target, ARITHMETIC[type(node.op)](), node.value)
        )

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.visited(node)
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        fewer = [node.values[:-1], node.values[1:]]
        shorter = [ast.BoolOp(node.op, v) if len(v) > 1 else copy.deepcopy(v[0]) for v in fewer]
        return self.offered(node, ast.BoolOp(other, node.values), *shorter)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.visited(node)
        return self.offered(node, node.operand)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value = node.value
        if isinstance(value, bool):
            return self.offered(node, ast.Constant(not value))
        if isinstance(value, int):
            return self.offered(node, ast.Constant(value + 1), ast.Constant(value - 1))
        if isinstance(value, float):
            return self.offered(node, ast.Constant(value * 2))
        if isinstance(value, str) and value.isidentifier():  # words of messages have blanks
            return self.offered(node, ast.Constant(f"{value}_"))
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.visited(node)
        if node.value is None or (
            isinstance(node.value, ast.Constant) and node.value.value is None
        ):
            return node
        return self.offered(node, ast.Return(ast.Constant(None)))

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):  # a docstring
            return node
        self.visited(node)
        return self.offered(node, ast.Pass())

    def visit_Continue(self, node: ast.Continue) -> ast.AST:
        return self.offered(node, ast.Break())

    def visit_Break(self, node: ast.Break) -> ast.AST:
        return self.offered(node, ast.Pass())


def faults_of(source: str) -> list[Fault]:
    """Return every fault that can be planted in a module."""
    planter = Planter()
    planter.visit(ast.parse(source))
    return planter.faults


def planted(source: str, number: int) -> ast.Module:
    """Return the module's syntax tree with one fault in it."""
    tree = Planter(number).visit(ast.parse(source))
    return ast.fix_missing_locations(tree)


def functions_of(source: str) -> Iterator[tuple[int, int]]:
    """Yield the first and last line of every function, outer ones before the inner."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            yield min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.end_lineno
