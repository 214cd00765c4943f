"""The small changes that `mutation.py` makes: the operators of mutmut, and ours for what it has not."""

import contextlib
import difflib
import random
from typing import NamedTuple

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators


class Mutant(NamedTuple):
    """One change of one module."""

    module: str
    line: int
    where: str
    """The function or class around it."""
    what: str
    text: str
    """The whole module with the change."""

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.where}: {self.what}"


PASS = cst.SimpleStatementLine([cst.Pass()])
RAISE = cst.SimpleStatementLine([cst.Raise()])
NONE = cst.Return(cst.Name("None"))
VALUE = m.MatchIfTrue(lambda value: value is not None)
STATEMENT = m.Expr() | m.AugAssign() | m.Del() | m.Raise() | m.Assert() | m.Return(None)
TEXT = m.Expr(m.SimpleString() | m.ConcatenatedString())
SKIPPED = (
    m.Annotation()
    | m.Import()
    | m.ImportFrom()
    | m.SimpleStatementLine([TEXT])
    | m.AnnAssign(annotation=m.Annotation(m.Name("TypeAlias")))
    | m.If(m.Name("TYPE_CHECKING"))
    | m.Call(m.Name("TypeVar") | m.Name("isinstance"))
)


def turned(test):
    return cst.UnaryOperation(cst.Not(), test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()]))


def less_decorated(node):
    gone = [one for one in node.decorators if not m.matches(one.decorator, m.Name("abstractmethod"))]
    return [node.with_changes(decorators=[one for one in node.decorators if one is not other]) for other in gone]


OURS = [
    (m.SimpleStatementLine([STATEMENT]), "statement removed", lambda node: [node.with_changes(body=[cst.Pass()])]),
    (m.SimpleStatementLine([m.Return(VALUE)]), "return None", lambda node: [node.with_changes(body=[NONE])]),
    (m.If(), "condition turned", lambda node: [node.with_changes(test=turned(node.test))]),
    (m.If() | m.While(), "condition false", lambda node: [node.with_changes(test=cst.Name("False"))]),
    (m.CompFor(), "filter removed", lambda node: [node.with_changes(ifs=[])]),
    (m.BooleanOperation(), "one side", lambda node: [node.left, node.right]),
    (m.ExceptHandler(), "error not caught", lambda node: [node.with_changes(body=cst.IndentedBlock([RAISE]))]),
    (m.Finally(), "finally removed", lambda node: [node.with_changes(body=cst.IndentedBlock([PASS]))]),
    (
        m.With([m.ZeroOrMore(m.WithItem(asname=None))]),
        "with removed",
        lambda node: [cst.If(cst.Name("True"), node.body, leading_lines=node.leading_lines)],
    ),
    (m.FunctionDef() | m.ClassDef(), "decorator removed", less_decorated),
]


def changes_of(node, where="", in_raise=False):
    """Yield each change of a node and of what it holds: node, function around it, what is done, new node."""
    if m.matches(node, SKIPPED):
        return
    if m.matches(node, m.Call(m.Name("cast"))):
        node = node.args[1]
    if isinstance(node, (cst.FunctionDef, cst.ClassDef)):
        where = f"{where}.{node.name.value}".lstrip(".")
    in_raise = in_raise or isinstance(node, cst.Raise)
    for pattern, what, change in OURS:
        if m.matches(node, pattern):
            yield from ((node, where, what, new) for new in change(node))
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            what = operator.__name__.removeprefix("operator_").replace("_", " ")
            yield from ((node, where, what, new) for new in worth_it(what, node, list(operator(node)), in_raise))
    for child in node.children:
        yield from changes_of(child, where, in_raise)


def worth_it(what, node, changes, in_raise):
    """Return changes without the words of messages, and without calls that are nearly always a TypeError."""
    if in_raise and what in ("string", "arg removal", "assignment"):
        return []
    if what == "arg removal":
        may_go = [arg for arg in node.args if arg.keyword or arg.star or arg is node.args[-1]]
        return [
            new for new in changes if len(new.args) == len(node.args) or set(node.args) - set(new.args) <= set(may_go)
        ]
    return changes[:1] if what == "string" else changes


def mutants_of(module, source, sample, seed):
    """Return the mutants of a module, or some of them by chance, in the order of their lines."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    lines, body = wrapper.resolve(PositionProvider), wrapper.module.body
    changes = [(place, *change) for place, statement in enumerate(body) for change in changes_of(statement)]
    random.Random(seed).shuffle(changes)
    found = {}
    for place, node, where, what, new in changes:
        with contextlib.suppress(SyntaxError, TypeError, cst.CSTValidationError):
            statement = new if node is body[place] else body[place].deep_replace(node, new)
            text = wrapper.module.with_changes(body=[*body[:place], statement, *body[place + 1 :]]).code
            compile(text, module, "exec")
            if text != source:
                found.setdefault(text, Mutant(module, lines[node].start.line, where, what, text))
        if len(found) == sample:
            break
    return sorted(found.values(), key=lambda mutant: mutant.line)


def difference(mutant, source):
    lines = difflib.unified_diff(source.splitlines(), mutant.text.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]
