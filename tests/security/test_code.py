"""What the code never does, beyond what ruff's security rules see (pyproject.toml): it is read, not run."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [path for folder in ("components", "pipelines", "images") for path in sorted((ROOT / folder).rglob("*.py"))]
# Weights or code come with what these load
LOADERS = {"AutoConfig", "AutoTokenizer", "AutoModelForCausalLM"}
NEEDED = {"trust_remote_code": False}
NEEDED_FOR_WEIGHTS = NEEDED | {"use_safetensors": True}
NEVER = {"allow_pickle": True, "weights_only": False, "trust_remote_code": True, "shell": True, "verify_ssl": False}


def calls(tree):
    """Each call as its dotted name, and the arguments by name that are plain values."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            yield node.lineno, ast.unparse(node.func), given


def problems(source, name="x.py"):
    for line, function, given in calls(ast.parse(source)):
        for key, value in NEVER.items():
            if key in given and given[key] is value:
                yield f"{name}:{line}: {key}={value}"
        owner, _, method = function.rpartition(".")
        if owner in LOADERS and method == "from_pretrained":
            needed = NEEDED_FOR_WEIGHTS if owner == "AutoModelForCausalLM" else NEEDED
            yield from (f"{name}:{line}: {key}" for key, value in needed.items() if given.get(key) is not value)
        if function in {"torch.load", "pickle.Unpickler", "joblib.load", "pandas.read_pickle", "dill.loads"}:
            yield f"{name}:{line}: {function}"
        if function in {"Environment", "jinja2.Environment"} and "autoescape" not in given:
            yield f"{name}:{line}: {function} says nothing of autoescape"


def test_the_code_has_no_such_call():
    assert len(FILES) > 200
    found = [problem for path in FILES for problem in problems(path.read_text(), str(path.relative_to(ROOT)))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "AutoConfig.from_pretrained(path)",
        "AutoTokenizer.from_pretrained(path, trust_remote_code=True)",
        "AutoModelForCausalLM.from_pretrained(path, trust_remote_code=False)",
        "subprocess.run(command, shell=True)",
        "Environment(loader=x)",
    ],
)
def test_such_calls_would_be_found(source):
    assert list(problems(source))


def test_pickle_is_used_between_our_own_processes_alone():
    """A worker reads what its parent wrote into a file that is closed to others."""
    users = [path.relative_to(ROOT).as_posix() for path in FILES if "pickle" in imported(path)]
    assert users == ["components/platform/workers.py"]


def imported(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_lint_has_the_security_rules():
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert not {"S102", "S301", "S307", "S506", "S602", "S604", "S605", "S614"} & {*lint["ignore"]}
