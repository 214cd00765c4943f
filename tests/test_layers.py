"""The floors of the package, and what a module may touch."""

import ast
import graphlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import agents_sessions

ROOT = Path(agents_sessions.__file__).parent
FLOORS = {
    "errors": 0,
    "naming": 0,
    "lossless_json": 0,
    "forks": 0,
    "gates": 0,
    "recent": 0,
    "entries": 1,
    "context": 1,
    "info": 1,
    "usage": 2,
    "history": 2,
    "stores.base": 2,
    "stores.file_document": 2,
    "stores.file_recovery": 2,
    "stores.file_limits": 2,
    "stores.file_queries": 2,
    "stores.file_errors": 2,
    "stores.file_names": 2,
    "stores.file_threads": 2,
    "stores.file_sidecars": 2,
    "stores.file_io": 2,
    "stores.file_locks": 2,
    "stores.file_turns": 2,
    "stores.file_atomic": 2,
    "stores": 3,
    "addresses": 4,
    "session": 4,
    "turns": 5,
    "manager": 6,
    "testing": 7,
    "cli": 7,
}
DRAWER = 5
"""The floor of a module that the table does not name."""

FILE_CALLS = {
    "open", "close", "read", "write", "pread", "pwrite", "preadv", "pwritev", "fsync", "fdatasync", "fstat", "stat",
    "link", "unlink", "remove", "rename", "replace", "ftruncate", "truncate", "mkdir", "makedirs", "rmdir", "listdir",
    "scandir", "symlink", "chmod", "fchmod",
}  # fmt: skip
PATH_CALLS = {"read_text", "read_bytes", "write_text", "write_bytes", "rmtree"}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__init__.py" or path.parent != ROOT
}
FACES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def floor_of(module):
    parts = module.split(".")
    prefixes = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((FLOORS[prefix] for prefix in prefixes if prefix in FLOORS), DRAWER)


def parsed(module):
    return ast.parse(MODULES[module].read_text())


def imports_of(module):
    """Return the modules of ours that a module names in its imports."""
    found = set()
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.removeprefix("agents_sessions.") for name in found if name.startswith("agents_sessions.")}
    return ours & set(MODULES)


@pytest.mark.parametrize("module", sorted(set(MODULES) - FACES))
def test_a_module_imports_from_no_higher_floor(module):
    higher = {name for name in imports_of(module) if floor_of(name) > floor_of(module)}
    assert not higher


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: imports_of(module) - FACES for module in set(MODULES) - FACES}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("module", sorted(set(MODULES) - FACES))
def test_no_module_imports_a_name_from_a_face(module):
    sources = {node.module for node in ast.walk(parsed(module)) if isinstance(node, ast.ImportFrom)}
    assert not sources & {"agents_sessions", *(f"agents_sessions.{face}" for face in FACES - {"stores"})}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"stores.file_io", "stores.file_locks", "stores.file_atomic"}))
def test_only_the_lowest_modules_of_the_file_store_touch_files(module):
    touched = []
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Call):
            touched += list(_file_calls(node.func))
    assert not touched


def _file_calls(called):
    if isinstance(called, ast.Name) and called.id == "open":
        yield "open"
    elif isinstance(called, ast.Attribute):
        of_os = isinstance(called.value, ast.Name) and called.value.id in ("os", "shutil")
        if (of_os and called.attr in FILE_CALLS) or called.attr in PATH_CALLS:
            yield called.attr


@pytest.mark.parametrize("module", sorted(name for name in MODULES if floor_of(name) < 4))
def test_the_lower_floors_do_not_know_the_sdk(module):
    names = set()
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
    if module != "usage":  # which turns the SDK's usage into ours, and imports it for its types only
        assert "agents" not in names


def in_new_process(script):
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return run.stdout.split()


def test_importing_the_package_imports_nothing_but_the_standard_library():
    """What takes time, the SDK and pydantic, is imported with the first name that needs it."""
    script = """
        import sys
        before = set(sys.modules)
        import agents_sessions
        print(*{name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)
    """
    assert in_new_process(textwrap.dedent(script)) == ["agents_sessions"]


def test_the_stores_do_not_import_the_sdk():
    script = "import sys; from agents_sessions import FileStore, MemoryStore; print('agents' in sys.modules)"
    assert in_new_process(script) == ["False"]


@pytest.mark.parametrize("name", agents_sessions.__all__)
def test_every_name_of_the_face_is_there(name):
    assert getattr(agents_sessions, name) is not None


def test_a_name_that_the_face_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Sesion"):
        agents_sessions.Sesion  # noqa: B018
