"""Small changes of one function, made in its syntax tree: what `mutants.py` makes its mistakes of.

A change names what it looks for, a call, a name or a key, and not how the line is written: a function can be moved,
reformatted and rewritten around that, and the mistake still applies. `nth` counts matches in the order of the source.

Raises of every change:
    LookupError: The function has nothing of the kind.
"""

import ast
from collections.abc import Callable, Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef
Change = Callable[[Function], None]


def drop(name: str, nth: int = 1) -> Change:
    """Leave out a statement that mentions a name; its body too, if it has one."""
    return instead(name, "pass", nth)


def instead(name: str, by: str, nth: int = 1) -> Change:
    """Put other statements in the place of one that mentions a name in its own line; `{it}` is that statement."""

    def change(function: Function) -> None:
        found = [place for place in _statements(function) if _mentions(_own(place[0][place[1]]), name)]
        body, index = _pick(found, nth, f"no statement with {name!r}")
        body[index : index + 1] = ast.parse(by.replace("{it}", ast.unparse(body[index]))).body

    return change


def condition(name: str, by: str, nth: int = 1) -> Change:
    """Put another condition in the place of one that mentions a name: of an `if`, a `while` or a conditional value."""

    def change(function: Function) -> None:
        kinds = (ast.If, ast.While, ast.IfExp)
        found = [node for node in _nodes(function) if isinstance(node, kinds) and _mentions(_nodes(node.test), name)]
        _pick(found, nth, f"no condition with {name!r}").test = _expression(by)

    return change


def returned(by: str, nth: int = 1) -> Change:
    """Return something else."""

    def change(function: Function) -> None:
        found = [node for node in _nodes(function) if isinstance(node, ast.Return)]
        _pick(found, nth, "no return").value = _expression(by)

    return change


def called(name: str, by: str, nth: int = 1) -> Change:
    """Put another expression in the place of a call."""

    def change(function: Function) -> None:
        call = _pick(_calls(function, name), nth, f"no call of {name!r}")
        _replace(function, call, _expression(by))

    return change


def argument(name: str, which: int | str, by: str, nth: int = 1) -> Change:
    """Give another argument to a call, by place or keyword; `{it}` is the one that it has."""

    def change(function: Function) -> None:
        call = _pick(_calls(function, name), nth, f"no call of {name!r}")
        given = {keyword.arg: keyword.value for keyword in call.keywords} | dict(enumerate(call.args))
        if which not in given:
            raise LookupError(f"{name!r} has no argument {which!r}")
        _replace(call, given[which], _expression(by.replace("{it}", ast.unparse(given[which]))))

    return change


def swap(old: str, new: str) -> Change:
    """Use one name for another, wherever it stands."""

    def change(function: Function) -> None:
        found = [node for node in _nodes(function) if old in (getattr(node, "id", None), getattr(node, "attr", None))]
        _pick(found, 1, f"no {old!r}")
        for node in found:
            if isinstance(node, ast.Name):
                node.id = new
            elif isinstance(node, ast.Attribute):
                node.attr = new

    return change


def _pick(found, nth, nothing):
    if len(found) < nth:
        raise LookupError(nothing if nth == 1 else f"{nothing}, number {nth}")
    return found[nth - 1]


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, in the order of the source."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child)


def _statements(node: ast.AST) -> Iterator[tuple[list[ast.stmt], int]]:
    """Yield the place of each statement below a node, in the order of the source: a body, and an index in it."""
    for _, value in ast.iter_fields(node):
        for index, child in enumerate(value if isinstance(value, list) else []):
            if isinstance(child, ast.stmt):
                yield value, index
            if isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
                yield from _statements(child)


def _own(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield what stands in a statement's own line, without the statements in its body."""
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            yield from _nodes(child)


def _mentions(nodes: Iterator[ast.AST], name: str) -> bool:
    return any(
        name in (getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "value", None)) for node in nodes
    )


def _calls(function: Function, name: str) -> list[ast.Call]:
    calls = [node for node in _nodes(function) if isinstance(node, ast.Call)]
    return [call for call in calls if name in (getattr(call.func, "id", None), getattr(call.func, "attr", None))]


def _replace(root: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for node in _nodes(root):
        for field, value in ast.iter_fields(node):
            if value is old:
                setattr(node, field, new)
                return
            if isinstance(value, list) and any(each is old for each in value):
                value[[each is old for each in value].index(True)] = new
                return
