"""What a name holds where it is read: the one assignment that reaches it, or nothing for sure.

Only what certainly holds is followed: a name with two possible values is unknown. What the value
means is the asker's part.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from sightline.audit.linting.source import FUNCTIONS, Function, Source, children

Scope = Function | ast.Module
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_INNER = (*FUNCTIONS, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True, eq=False)
class Binding:
    """Where a name gets a value.

    Attributes:
        node: the statement or expression that binds it.
        value: the expression it is bound to; None if it is none of the text's (a parameter, an
            element of something).
        end: (line, column) behind which it holds.
        iterated: of a loop's target, what the loop goes through.
    """

    node: ast.AST
    value: ast.expr | None
    end: tuple[int, int]
    iterated: ast.expr | None = None


class Scopes:
    """The bindings of a source, found when they are asked for."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._bindings: dict[ast.AST, dict[str, list[Binding]]] = {}
        self._attributes: dict[ast.ClassDef, dict[str, list[ast.expr | None]]] = {}

    def bindings(self, scope: Scope) -> dict[str, list[Binding]]:
        """Return the bindings of each name in a function or module, in the order of the text."""
        if scope not in self._bindings:
            found: dict[str, list[Binding]] = defaultdict(list)
            for name, binding in _bound(scope):
                found[name].append(binding)
            for bound in found.values():
                bound.sort(key=lambda each: each.end)
            self._bindings[scope] = found
        return self._bindings[scope]

    def reaching(self, name: ast.Name) -> Binding | None:
        """Return the binding that a name certainly has where it is read; None if none is sure."""
        if self._bound_within(name):
            return None
        scope: Scope | None = self.source.function_of(name) or self.source.tree
        inside = scope
        while scope is not None:
            bound = self.bindings(scope).get(name.id)
            if bound and scope is inside:
                return self._last(bound, name)
            if bound:  # of a function around: when it is read, is not known
                return bound[0] if len(bound) == 1 else None
            if scope is self.source.tree:
                return None
            scope = self.source.function_of(scope) or self.source.tree
        return None

    def _bound_within(self, name: ast.Name) -> bool:
        """Whether a name is the parameter of a lambda, or what a comprehension goes through."""
        for up in self.source.ancestors(name):
            if isinstance(up, ast.stmt):
                return False
            if isinstance(up, ast.Lambda) and name.id in {a.arg for a in all_parameters(up)}:
                return True
            targets = [each.target for each in getattr(up, "generators", ())]
            if any(name.id in _names_in(each) for each in targets):
                return True
        return False

    def _last(self, bound: list[Binding], name: ast.Name) -> Binding | None:
        at = (name.lineno, name.col_offset)
        before = [each for each in bound if each.end <= at]
        if not before:
            return None
        last = before[-1]
        around = [name, *self.source.ancestors(name)]
        if not self._rules(last, around):
            return None
        for loop in around:
            outside = isinstance(loop, _LOOPS) and last.node is not loop and not _within(last, loop)
            # What a later line of the loop assigns is read when it comes round again.
            if outside and any(_within(each, loop) for each in bound):
                return None
        return last

    def _rules(self, binding: Binding, around: list[ast.AST]) -> bool:
        """Whether a binding before a place is on every way to it, given what is around that."""
        if isinstance(binding.node, ast.arguments):
            return True
        if isinstance(binding.node, _LOOPS):
            return binding.node in around
        statement = self.source.statement_of(binding.node)
        if statement is None or isinstance(binding.node, ast.NamedExpr):
            return statement in around
        home = self._block(statement)
        return any(self._block(each) == home for each in around if isinstance(each, ast.stmt))

    def _block(self, node: ast.AST) -> tuple[int, str]:
        """Return which list of statements a statement stands in."""
        parent = self.source.parents.get(node)
        for field, value in ast.iter_fields(parent) if parent is not None else ():
            if isinstance(value, list) and node in value:
                return id(parent), field
        return id(parent), ""

    def value(self, node: ast.expr | None) -> ast.expr | None:
        """Return what a name or an attribute of ``self`` certainly holds, followed to its end.

        An expression that is neither is returned as it is; None if nothing is sure.
        """
        for _ in range(10):
            if isinstance(node, ast.Name):
                binding = self.reaching(node)
                node = binding.value if binding is not None else None
            elif isinstance(node, ast.Attribute) and is_self(node.value):
                values = self.attribute(node)
                node = values[0] if len(values) == 1 else None
            else:
                return node
        return None

    def attribute(self, node: ast.Attribute) -> list[ast.expr | None]:
        """Return all that the class assigns to an attribute of ``self``, None left out.

        A value that is none of the text's stands as None.
        """
        owner = self.source.class_of(node)
        if owner is None:
            return []
        if owner not in self._attributes:
            found: dict[str, list[ast.expr | None]] = defaultdict(list)
            for name, value in _assigned(self.source, owner):
                if not (isinstance(value, ast.Constant) and value.value is None):
                    found[name].append(value)
            self._attributes[owner] = found
        return self._attributes[owner].get(node.attr, [])


def is_self(node: ast.AST) -> bool:
    """Whether an expression is the name ``self``."""
    return isinstance(node, ast.Name) and node.id == "self"


def _within(binding: Binding, node: ast.AST) -> bool:
    """Whether a binding stands in the lines of a node."""
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    return first <= binding.end[0] <= last and binding.end > (first, node.col_offset)  # type: ignore[attr-defined]


def _end(node: ast.AST) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0  # type: ignore[attr-defined]


def own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a scope in the order of the text, without those of scopes inside it."""
    stack: list[ast.AST] = list(reversed(getattr(scope, "body", [])))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, _INNER):
            stack.extend(reversed(children(node)))


def _bound(scope: Scope) -> Iterator[tuple[str, Binding]]:
    """Yield every name that a scope binds."""
    if isinstance(scope, FUNCTIONS):
        start = (scope.body[0].lineno, -1)
        for argument in all_parameters(scope):
            yield argument.arg, Binding(scope.args, None, start)
    for node in own_nodes(scope):
        yield from _bound_by(node)


def _bound_by(node: ast.AST) -> Iterator[tuple[str, Binding]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _target(target, value, node)
        case ast.AnnAssign(target=target, value=value) if value is not None:
            yield from _target(target, value, node)
        case ast.NamedExpr(target=target, value=value):
            yield target.id, Binding(node, value, _end(node))
        case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
            for name, _ in _target(target, None, node):
                yield name, Binding(node, None, _end(target), _iterated(target, value, name))
        case ast.withitem(optional_vars=ast.expr() as target):
            yield from _target(target, None, target)
        case ast.ExceptHandler(name=str(name), type=ast.expr() as kind):
            yield name, Binding(node, None, _end(kind))
        case _:
            for name in _changed(node):
                yield name, Binding(node, None, _end(node))


def _changed(node: ast.AST) -> Iterator[str]:
    """Yield the names to which a node gives a value that the text does not tell."""
    match node:
        case ast.AugAssign(target=target):
            yield from (name for name, _ in _target(target, None, node))
        case ast.Delete(targets=targets):
            for each in targets:
                yield from (name for name, _ in _target(each, None, node))
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if in_place(method):
            yield name
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            yield from (each.asname or each.name.partition(".")[0] for each in aliases)
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from names
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name


def in_place(method: str) -> bool:
    """Whether a tensor's method of that name changes the tensor (``masked_fill_``)."""
    return method.endswith("_") and not method.endswith("__")


def _iterated(target: ast.expr, value: ast.expr, name: str) -> ast.expr | None:
    """Return what a loop takes ``name`` from one after the other, ``enumerate`` looked through."""
    match target, value:
        case ast.Name(), _:
            return value
        case (
            ast.Tuple(elts=[_, ast.Name(id=second)]),
            ast.Call(func=ast.Name(id="enumerate"), args=[inner, *_]),
        ) if second == name:
            return inner
    return None


def _target(
    target: ast.expr, value: ast.expr | None, node: ast.AST
) -> Iterator[tuple[str, Binding]]:
    match target:
        case ast.Name(id=name):
            yield name, Binding(node, value, _end(node))
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            same = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(targets)
            plain = same and not any(isinstance(each, ast.Starred) for each in targets)
            for index, each in enumerate(targets):
                part = value.elts[index] if plain else None  # type: ignore[union-attr]
                yield from _target(each, part, node)
        case ast.Starred(value=inner):
            yield from _target(inner, None, node)
        case ast.Subscript(value=ast.Name(id=name)):
            # mask[:, 0] = True: what the name holds is no longer what it was given.
            yield name, Binding(node, None, _end(node))


def _assigned(source: Source, owner: ast.ClassDef) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield what a class assigns to attributes of ``self``."""
    for node in source.within(owner, ast.Assign):
        for target in node.targets:
            yield from _attribute(target, node.value)
    for node in source.within(owner, ast.AnnAssign):
        if node.value is not None:
            yield from _attribute(node.target, node.value)
    for node in source.within(owner, ast.AugAssign):
        yield from _attribute(node.target, None)
    for node in source.within(owner, ast.Call):
        match node:
            case ast.Call(func=ast.Attribute(value=base, attr="register_buffer"), args=args):
                named = {each.arg: each.value for each in node.keywords}
                first = args[0] if args else named.get("name")
                value = args[1] if len(args) > 1 else named.get("tensor")
                if is_self(base) and isinstance(first, ast.Constant):
                    yield str(first.value), value
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(value=base, attr=name), attr=method)
            ) if is_self(base) and in_place(method):
                yield name, None


def _attribute(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr | None]]:
    match target:
        case ast.Attribute(value=base, attr=name) if is_self(base):
            yield name, value
        case ast.Subscript(value=ast.Attribute(value=base, attr=name)) if is_self(base):
            yield name, None
        case ast.Tuple(elts=targets) | ast.List(elts=targets):
            for each in targets:
                yield from _attribute(each, None)


def _names_in(target: ast.expr) -> set[str]:
    return {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}


def all_parameters(function: Function | ast.Lambda) -> list[ast.arg]:
    """Return a function's parameters, starred ones included."""
    given = function.args
    starred = [each for each in (given.vararg, given.kwarg) if each is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *starred]
