"""The floors of the package, and what a module may touch."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import agents_sessions

ROOT = Path(agents_sessions.__file__).parent
FLOORS = [
    {"keys", "not_given", "signatures", "concurrency.asyncio_internals", "concurrency.forks"},
    {"errors", "concurrency.settle", "concurrency.recent", "concurrency.fair_locks"},
    {"concurrency.process", "concurrency.worker_threads"},
    {"model.lossless_json", "model.usage"},
    {"model.ids", "model.calls", "model.durations", "model.findings"},
    {"model.entries"},
    {"model.pairs", "model.redaction", "model.tokens", "model.view"},
    {"model.totals"},
    {"model.info", "model.history", "model.undo", "model.words"},
    {"model.query", "model.spend", "model.turn_list"},
    {"model.search", "model.conversation", "model.transcript"},
    {"model.titles"},
    {"stores.base"},
    {"stores.transitions"},
    {"stores.codec", "stores.encryption.keyring"},
    {"stores.encryption.sealing"},
    {"stores.encryption.choosing"},
    {"stores.kit"},
    {"stores.file.names", "stores.file.disk.syscalls", "stores.file.format.header"},
    {"stores.file.layout", "stores.file.disk.locks", "stores.file.format.lines"},
    {
        "stores.file.disk.atomic",
        "stores.file.disk.listing",
        "stores.file.format.copied",
        "stores.file.format.tail",
        "stores.file.turn_lock",
    },
    {
        "stores.file.format.computed",
        "stores.file.format.document",
        "stores.file.format.sealed",
        "stores.file.format.verify",
    },
    {"stores.file.format.overwritten"},
    {
        "stores.file.format.append",
        "stores.file.format.edited",
        "stores.file.format.mixed",
        "stores.file.format.proved",
        "stores.file.format.rekeyed",
        "stores.file.format.salvage",
        "stores.file.format.torn",
    },
    {"stores.file.format.reading"},
    {"stores.file.aside"},
    {
        "stores.file.creation",
        "stores.file.errors",
        "stores.file.limits",
        "stores.file.queries",
        "stores.file.sidecars",
    },
    {"stores.file.reader", "stores.file.catalog.rows"},
    {"stores.file.catalog.database", "stores.file.catalog.questions", "stores.file.catalog.reading"},
    {"stores.file.catalog.answers", "stores.file.catalog.writing"},
    {"stores.file.catalog.catalog"},
    {"stores.file.writer"},
    {"stores.file.files"},
    {"stores.file.redacting"},
    {"stores.file.checks"},
    {"stores.memory", "stores.scoped", "stores.file.store"},
    {
        "stores.rows.text",
        "stores.rows.settings",
        "stores.sqlite.schema",
        "stores.postgres.schema",
        "stores.redis.scripts",
    },
    {"stores.rows.head"},
    {"stores.rows.questions", "stores.rows.engine"},
    {"stores.rows.store", "stores.leases.lease"},
    {"stores.leases.keeper", "stores.sqlite.database", "stores.postgres.database", "stores.redis.database"},
    {"stores.leases.store", "stores.sqlite.turns"},
    {"stores.sqlite.engine", "stores.postgres.engine", "stores.redis.engine"},
    {"stores.sqlite.store", "stores.postgres.store", "stores.redis.store"},
    {"stores.urls"},
    {"compaction", "lookup", "quota", "run_states"},
    {"shared_usage"},
    {"session", "windows"},
    {"opened"},
    {"turns.events", "turns.lock", "turns.options", "turns.past", "turns.running", "turns.sdk_internals"},
    {"turns.ends", "turns.ledger", "turns.request", "turns.way"},
    {"turns.agents"},
    {"turns.approvals", "turns.hooks", "turns.positions", "turns.recorder"},
    {"turns.rewinding"},
    {"turns.plan", "turns.reply"},
    {"turns.summarising"},
    {"turns.compacting"},
    {"turns.turn"},
    {"turns.stream"},
    {"turns.activity"},
    {"features.statistics.prices", "features.statistics.figures"},
    {"features.statistics.markdown", "features.statistics.money"},
    {"features.statistics.report"},
    {"features.statistics.tally"},
    {"features.statistics.statistics"},
    {"features.transfer.values", "pages.shown"},
    {"features.transfer.document", "features.transfer.files", "features.transfer.masking", "pages.templates"},
    {
        "features.transfer.foreign.chat_completions",
        "features.transfer.foreign.responses",
        "features.transfer.foreign.session_file",
        "features.transfer.html",
        "features.transfer.markdown",
        "features.transfer.selection",
        "features.transfer.snapshot",
        "features.transfer.sources",
        "features.transfer.yaml_text",
    },
    {"features.transfer.incoming", "features.transfer.writers"},
    {
        "features.transfer.exporting",
        "features.transfer.foreign.sdk_database",
        "features.transfer.migrate",
        "features.transfer.placing",
    },
    {"features.transfer.bundle", "features.transfer.recognise"},
    {"features.transfer.importing"},
    {"features.transfer.transfer"},
    {
        "features.archive.compression",
        "features.diagnostics.histories",
        "features.diagnostics.report",
        "features.removal",
        "features.retention.journal",
    },
    {"features.archive.shelf", "features.retention.policy"},
    {"features.archive.archive", "features.diagnostics.backups"},
    {"features.diagnostics.diagnostics", "features.trash"},
    {"features.retention.retention"},
    {"features.erasure"},
    {
        "features.branches.comparing",
        "features.branches.family",
        "features.branches.forking",
        "features.bulk",
        "features.checkpoints",
        "features.finding",
        "features.summaries",
        "features.time_travel",
    },
    {"features.branches.merging", "features.encryption", "features.redaction"},
    {"features.branches.branches"},
    {"manager.checks", "manager.extensions"},
    {"manager.facts"},
    {"manager.features", "manager.finding", "manager.history", "manager.sessions", "manager.turns"},
    {"manager.bulk"},
    {"manager.manager"},
    {"testing.responses", "testing.contract.bounds", "testing.contract.samples"},
    {"testing.contract.part"},
    {"testing.contract.children"},
    {
        "testing.contract.append",
        "testing.contract.aside",
        "testing.contract.concurrency",
        "testing.contract.copy",
        "testing.contract.create",
        "testing.contract.delete",
        "testing.contract.facts",
        "testing.contract.follow",
        "testing.contract.ids",
        "testing.contract.items",
        "testing.contract.move",
        "testing.contract.processes",
        "testing.contract.query",
        "testing.contract.read",
        "testing.contract.refusals",
        "testing.contract.rewrite",
        "testing.contract.scan",
        "testing.contract.search",
        "testing.contract.sharing",
        "testing.contract.sidecars",
        "testing.contract.sizes",
        "testing.contract.spend",
        "testing.contract.times",
        "testing.contract.turn_lock",
        "testing.contract.view",
    },
    {"testing.contract.store_contract"},
    {"cli.screen"},
    {"cli.conversation", "cli.desk"},
    {"cli.settings"},
    {"cli.demo"},
    {"cli.branching", "cli.changing", "cli.health", "cli.reading", "cli.removing", "cli.transferring"},
    {"cli.chatting"},
    {"cli.app"},
    {"cli.main"},
]
"""Every module, on its floor. It imports from lower floors only, so that each change is felt above and never below."""

FILE_CALLS = {
    "open", "close", "read", "write", "pread", "pwrite", "preadv", "pwritev", "fsync", "fdatasync", "fstat", "stat",
    "link", "unlink", "remove", "rename", "replace", "ftruncate", "truncate", "mkdir", "makedirs", "rmdir", "listdir",
    "scandir", "symlink", "chmod", "fchmod",
}  # fmt: skip
PATH_CALLS = {"read_text", "read_bytes", "write_text", "write_bytes", "rmtree"}

TOUCHES_FILES = ("stores.file.disk.", "features.transfer.files", "stores.encryption.keyring")
"""What makes system calls: for sessions, for the files of others that are read and written for them, for a key file."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__init__.py" or path.parent != ROOT
}
FACES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def floor_of(module):
    return next(number for number, floor in enumerate(FLOORS) if module in floor)


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


def test_every_module_has_one_floor():
    placed = [module for floor in FLOORS for module in floor]
    assert sorted(placed) == sorted(set(MODULES) - FACES)


@pytest.mark.parametrize("module", sorted(set(MODULES) - FACES))
def test_a_module_imports_from_lower_floors_only(module):
    assert not {name for name in imports_of(module) - FACES if floor_of(name) >= floor_of(module)}


@pytest.mark.parametrize("module", sorted(set(MODULES) - FACES))
def test_no_module_imports_a_name_from_a_face(module):
    faces = {"agents_sessions", *(f"agents_sessions.{face}" for face in FACES)}
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ImportFrom) and node.module in faces:
            names = {f"{node.module}.{alias.name}".removeprefix("agents_sessions.") for alias in node.names}
            assert names <= set(MODULES)


@pytest.mark.parametrize("module", sorted(name for name in MODULES if not name.startswith(TOUCHES_FILES)))
def test_only_the_disk_modules_touch_files(module):
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


BELOW_THE_SDK = [module for module in sorted(set(MODULES) - FACES) if floor_of(module) < floor_of("shared_usage")]


@pytest.mark.parametrize("module", BELOW_THE_SDK)
def test_the_lower_floors_do_not_know_the_sdk(module):
    names = set()
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
    if module != "model.usage":  # which turns the SDK's usage into ours, and imports it for its types only
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


def test_all_but_the_files_can_be_used_where_there_is_no_posix():
    script = """
        import sys, os, agents, pydantic, msgspec, openai, multiprocessing
        sys.modules["fcntl"] = None
        for name in ("register_at_fork", "fork", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "preadv"):
            delattr(os, name)
        import asyncio, agents_sessions
        from agents_sessions import MemorySession, MemoryStore, PostgresStore, RedisStore, SessionManager, StoredSession
        from agents_sessions.testing import LocalResponses, StoreContract
        async def main():
            await SessionManager(MemoryStore()).create_session("a", session_id="s")
            await MemorySession("s").get_items()
            PostgresStore("host=nowhere"), RedisStore("redis://nowhere"), SessionManager("redis://nowhere")
            print("fine")
        asyncio.run(main())
    """
    assert in_new_process(textwrap.dedent(script)) == ["fine"]


@pytest.mark.parametrize("name", agents_sessions.__all__)
def test_every_name_of_the_face_is_there(name):
    assert getattr(agents_sessions, name) is not None


def test_a_name_that_the_face_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Sesion"):
        agents_sessions.Sesion  # noqa: B018
