"""The way of scores to a softmax: what a value becomes, and what a softmax was made of.

Followed inside one function only. What is wrong about it is a rule's matter.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.audit.linting.operations import Operation, operation
from sightline.audit.linting.scopes import Scopes, is_self, own_nodes
from sightline.audit.linting.source import Source, number, words

SOFTMAX = words("softmax softmax_ log_softmax gumbel_softmax")
_PRODUCTS = words("matmul bmm baddbmm dot batch_dot")
_SCALES = (ast.Mult, ast.Div)
# What leaves the scores where they are.
_KEEPS = words(
    "view reshape float half double to type type_as contiguous clone masked_fill masked_fill_ "
    "div div_ mul mul_ add add_ div_ where cast astype softcap clamp"
)


class Scores:
    """What becomes of values in the functions of a source."""

    def __init__(self, source: Source, scopes: Scopes) -> None:
        self.source = source
        self.scopes = scopes
        self._modules = "Softmax" in source.piece.text
        self._known: dict[ast.Call, Operation | None] = {}

    def softmaxes(self) -> Iterator[tuple[ast.Call, Operation]]:
        """Yield all softmaxes, in the order of the text."""
        for call in self.source.calls:
            made = self.softmax(call)
            if made is not None:
                yield call, made

    def softmax(self, node: ast.AST | None) -> Operation | None:
        """Return a node as the softmax that it is; None if it is none.

        ``self.softmax(x)`` counts, if ``self.softmax`` was made as ``nn.Softmax(dim=...)``.
        """
        if not isinstance(node, ast.Call):
            return None
        if node not in self._known:
            self._known[node] = self._of_module(node) or self._of_function(node)
        return self._known[node]

    def _of_module(self, call: ast.Call) -> Operation | None:
        if not self._modules or len(call.args) != 1 or call.keywords:
            return None
        module = call.func if isinstance(call.func, ast.Call) else self.scopes.value(call.func)
        if not isinstance(module, ast.Call):
            return None
        if not self.source.dotted(module.func).endswith("nn.Softmax"):
            return None
        named = {each.arg: each.value for each in module.keywords if each.arg}
        return Operation("softmax", call.args[0], list(module.args), named)

    def _of_function(self, call: ast.Call) -> Operation | None:
        func = call.func
        if isinstance(func, ast.Name) and call.args:  # from torch import softmax
            if self.source.dotted(func).rpartition(".")[2] not in SOFTMAX:
                return None
            named = {each.arg: each.value for each in call.keywords if each.arg}
            return Operation("softmax", call.args[0], list(call.args[1:]), named)
        if not isinstance(func, ast.Attribute) or func.attr not in SOFTMAX:
            return None
        made = operation(self.source, call)
        return None if made is None or is_self(made.subject) else made

    def dim(self, made: Operation) -> float | None:
        """Return the axis that a softmax goes along, if it is a written number."""
        return number(made.argument(0, "dim", "axis"))

    def feeds_softmax(self, node: ast.expr) -> bool:
        """Whether a value goes into a softmax of the same function."""
        return any(True for _ in self.softmaxes_fed(node))

    def softmaxes_fed(self, node: ast.expr) -> Iterator[ast.Call]:
        """Yield the softmax calls that a value goes into."""
        at: ast.AST = node
        for up in self.source.ancestors(node):
            if isinstance(up, ast.Call) and self._carries(up, at):
                if self.softmax(up) is not None:
                    yield up
                    return
            elif isinstance(up, ast.stmt):
                yield from self._later(up)
                return
            elif not isinstance(up, ast.BinOp | ast.Attribute | ast.keyword | ast.IfExp):
                return
            at = up

    def weighs(self, softmax: ast.Call, *, elementwise: bool = False) -> bool:
        """Whether what a softmax gives is then multiplied by something, as weights are.

        By a matrix product, or with ``elementwise`` by ``*`` too; names are followed by name only.
        """
        if any(self._product(up, elementwise) for up in self.source.ancestors(softmax)):
            return True
        statement, function = self.source.statement_of(softmax), self.source.function_of(softmax)
        if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Name):
            return False
        last = function.end_lineno or 0 if function is not None else 10**9
        return any(
            self._product(up, elementwise)
            for use in self.source.names(statement.targets[0].id)
            if statement.lineno < use.lineno <= last
            for up in self.source.ancestors(use)
        )

    def _product(self, node: ast.AST, elementwise: bool) -> bool:
        if isinstance(node, ast.BinOp):
            return isinstance(node.op, ast.MatMult) or (
                elementwise and isinstance(node.op, ast.Mult)
            )
        if not isinstance(node, ast.Call):
            return False
        made = operation(self.source, node)
        return made is not None and (made.name in _PRODUCTS or made.name == "einsum")

    def _carries(self, call: ast.Call, part: ast.AST) -> bool:
        """Whether what a call gives still has what ``part`` of it holds."""
        if self.softmax(call) is not None or part is call.func:
            return True
        made = operation(self.source, call)
        return made is not None and made.name in _KEEPS

    def _later(self, statement: ast.stmt) -> Iterator[ast.Call]:
        """Yield the softmaxes of what an assignment names, as long as nothing else is assigned."""
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]):
                pass
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
                pass  # masked_fill_(...)
            case _:
                return
        scope = self.source.function_of(statement) or self.source.tree
        end = (statement.end_lineno or 0, statement.end_col_offset or 0)
        for node in own_nodes(scope):
            made = self.softmax(node) if isinstance(node, ast.Call) else None
            if made is None or (node.lineno, node.col_offset) < end:  # type: ignore[attr-defined]
                continue
            if name in self.roots(made.subject, statement):
                yield node  # type: ignore[misc]

    def roots(self, node: ast.expr, until: ast.stmt) -> set[str]:
        """Return the names that a value is made of, back to what ``until`` assigned."""
        found: set[str] = set()
        for step in self.steps(node):
            if isinstance(step, ast.Name):
                binding = self.scopes.reaching(step)
                if binding is None or self.source.statement_of(binding.node) is until:
                    found.add(step.id)
        return found

    def steps(self, node: ast.expr | None) -> Iterator[ast.expr]:
        """Yield a value and what it was made of, back through names, scaling and masking."""
        seen: set[ast.AST] = set()
        stack = [node]
        while stack:
            node = stack.pop()
            if node is None or node in seen or len(seen) > 60:
                continue
            seen.add(node)
            yield node
            match node:
                case ast.Name():
                    binding = self.scopes.reaching(node)
                    if binding is not None and isinstance(binding.node, ast.AugAssign):
                        stack += [binding.node.value, self._before(binding.node)]
                    elif binding is not None:
                        stack.append(binding.value or self._in_place(binding.node))
                case ast.BinOp(left=left, right=right):
                    stack += [right, left]
                case ast.IfExp(body=body, orelse=orelse):
                    stack += [orelse, body]
                case ast.Call():
                    made = operation(self.source, node)
                    if made is not None and made.name in _KEEPS:
                        stack += [*reversed(made.rest), made.subject]

    def _before(self, statement: ast.AugAssign) -> ast.expr | None:
        """Return what an augmented assignment changes, as a name read before it."""
        if not isinstance(statement.target, ast.Name):
            return None
        scope = self.source.function_of(statement) or self.source.tree
        bound = self.scopes.bindings(scope)[statement.target.id]
        at = (statement.lineno, statement.col_offset)
        before = [each for each in bound if each.end <= at]
        return before[-1].value if before else None

    def _in_place(self, node: ast.AST) -> ast.expr | None:
        return node if isinstance(node, ast.Call) else None

    def product(self, node: ast.expr | None) -> tuple[ast.expr, ast.expr] | None:
        """Return query and key of scores that are a product; None if that is not sure.

        The key is what stands there as turned: ``key.transpose(-2, -1)``, ``key.T``, ``key.mT``.
        """
        for step in self.steps(node):
            pair: tuple[ast.expr, ast.expr] | None = None
            if isinstance(step, ast.BinOp) and isinstance(step.op, ast.MatMult):
                pair = step.left, step.right
            elif isinstance(step, ast.Call):
                made = operation(self.source, step)
                if made is None or not made.rest:
                    continue
                if made.name == "einsum" and _pairs_up(made.subject) and len(made.rest) == 2:
                    return made.rest[0], made.rest[1]
                if made.name in _PRODUCTS:
                    pair = made.subject, made.rest[-1]
                    turned = made.keywords.get("transpose_b")
                    if isinstance(turned, ast.Constant) and turned.value is True:
                        return pair
                    if made.name == "bmm" and self._turned(pair[1], {1.0, 2.0}):
                        return pair
            if pair is not None and self._turned(pair[1], {2.0, 3.0}):
                return pair
        return None

    def _turned(self, node: ast.expr | None, axes: set[float]) -> bool:
        """Whether a value is written with its last two axes exchanged; ``axes`` are these."""
        held = self.scopes.value(node)
        match held:
            case ast.Attribute(attr="T" | "mT" | "mH"):
                return True
            case ast.Call():
                made = operation(self.source, held)
                if made is None or made.name not in ("transpose", "swapaxes", "transpose_"):
                    return False
                return {number(each) for each in made.rest} in ({-1.0, -2.0}, axes)
        return False


def _pairs_up(equation: ast.expr) -> bool:
    """Whether an einsum gives a number for each query and key: ``bhid,bhjd->bhij``."""
    if not isinstance(equation, ast.Constant) or not isinstance(equation.value, str):
        return False
    given, arrow, made = equation.value.replace(" ", "").partition("->")
    query, comma, key = given.partition(",")
    if not arrow or not comma or len(made) < 2:
        return False
    q, k = made[-2], made[-1]
    features = query[-1:] == key[-1:] and query[-1:] not in made
    return features and q in query and q not in key and k in key and k not in query
