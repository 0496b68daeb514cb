"""Imports go down the list of rooms and never up; nothing unpickles or evaluates what it reads."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "burnish"
FILES = sorted(PACKAGE.rglob("*.py"))

# The rooms from the lowest to the highest: each may import those before it, but for what `UNSEEN` says.
ROOMS = (
    "data",
    "networks",
    "training",
    "simulators",
    "masks",
    "world_models",
    "rewards",
    "policies",
    "imagination",
    "rl",
    "pipeline",
    "evaluation",
    "report",
    "recipes",
    "deploy",
    "studio",
)
# No simulator here: refinement happens in imagination alone.
_IMAGINING = ("world_models", "rewards", "policies", "imagination", "rl", "pipeline")
UNSEEN = {room: {"simulators", "masks"} for room in _IMAGINING}
UNSEEN["networks"] = {"data"}
ALLOWED = {room: set(ROOMS[:index]) - UNSEEN.get(room, set()) for index, room in enumerate(ROOMS)}
ROOTS = ("errors", "lanes", "storage", "exit_codes", "config", "components", "flags")
UNRESTRICTED = {"cli", "options", "usage", "__main__", "__init__"}

FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "__import__",
    "torch.load",
    "torch.save",
    "torch.hub.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pandas.read_pickle",
    "pd.read_pickle",
}


def room_of(path: Path) -> str:
    """The first name below burnish/: a room, or a module at the root."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def imported_modules(tree: ast.AST, package: list[str]) -> set[str]:
    """Full names of all modules that a file imports, anywhere in it; `package` resolves relative imports."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from burnish import rl` imports the room as well.
            found |= {module} if module != "burnish" else {f"burnish.{alias.name}" for alias in node.names}
    return found


def imported_rooms(tree: ast.AST, package: list[str]) -> set[str]:
    modules = [name.split(".") for name in imported_modules(tree, package)]
    return {parts[1] for parts in modules if parts[0] == "burnish" and len(parts) > 1}


def wrong_imports(room: str, tree: ast.AST, package: list[str]) -> set[str]:
    if room in UNRESTRICTED:
        return set()
    if room in ROOTS:
        return imported_rooms(tree, package) - {room} - set(ROOTS[: ROOTS.index(room)])
    rooms = imported_rooms(tree, package) & (set(ALLOWED) | {"cli"})
    return rooms - {room} - ALLOWED[room]


def forbidden(tree: ast.AST) -> set[str]:
    found = {name for name in imported_modules(tree, ["burnish"]) if name.split(".")[0] in FORBIDDEN_MODULES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if dotted(node.func) in FORBIDDEN_CALLS:
                found.add(dotted(node.func))
            found |= {
                "allow_pickle"
                for keyword in node.keywords
                if keyword.arg == "allow_pickle"
                and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
            }
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_file(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    room = room_of(path)
    assert room in set(ALLOWED) | set(ROOTS) | UNRESTRICTED, f"{room} is not in the list of rooms"
    package = ["burnish", *path.relative_to(PACKAGE).parent.parts]
    assert wrong_imports(room, tree, package) == set(), "imports go down the list of rooms only"
    assert forbidden(tree) == set(), "nothing unpickles or evaluates what it reads"


def test_the_rooms_have_an_order():
    for room, below in ALLOWED.items():
        for lower in below:
            assert room not in ALLOWED[lower], f"{room} and {lower} could import each other"


@pytest.mark.parametrize(
    ("room", "source", "wrong"),
    [
        ("rl", "from burnish.simulators.metaworld import make", {"simulators"}),
        ("rl", "import burnish.evaluation", {"evaluation"}),
        ("data", "from burnish import cli, errors", {"cli"}),
        ("data", "from ..training import loop", {"training"}),
        ("networks", "def f():\n    from burnish.data.dataset import Dataset", {"data"}),
        ("config", "from burnish.data import episodes", {"data"}),
        ("storage", "def f():\n    from burnish.config import to_dict", {"config"}),
        ("imagination", "from burnish.world_models import edm\nfrom . import env\nimport burnish.errors", set()),
        ("cli", "import burnish.studio", set()),
    ],
)
def test_the_import_check_sees(room, source, wrong):
    assert wrong_imports(room, ast.parse(source), ["burnish", room]) == wrong


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("import pickle", {"pickle"}),
        ("from pickle import loads", {"pickle"}),
        ("torch.load(path)", {"torch.load"}),
        ("yaml.load(text, Loader=x)", {"yaml.load"}),
        ("eval('1')", {"eval"}),
        ("np.load(path, allow_pickle=True)", {"allow_pickle"}),
        ("model.eval(); yaml.safe_load(text); np.load(path, allow_pickle=False)", set()),
    ],
)
def test_the_safety_check_sees(source, wrong):
    assert forbidden(ast.parse(source)) == wrong
