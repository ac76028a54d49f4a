"""The house style that a linter does not know: abstract or final, small files, documented and typed."""

import ast
from collections.abc import Callable, Iterator

import pytest

LONGEST_FILE = 400
LONGEST_FUNCTION = 80
MAY_PRINT = (
    "_internal/stdout.py",
    "_internal/command.py",
    "_internal/progress.py",
    "results/show.py",
    "train/job.py",
)
"""The files that may print beside each `__main__.py`; results go through `_internal/stdout.py`."""

MAY_CALL_SUPER = {
    "envs/two_routes.py": "gymnasium-robotics' environments are initialised by inheritance",
    **dict.fromkeys(
        ("adaptation/ascent.py", "adaptation/metric.py", "adaptation/divergence.py", "adaptation/gradient.py"),
        "`__init_subclass__` is a chain: those after it see the class, and its keywords",
    ),
}
"""Files that may call `super()`, and why."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _name(node: ast.expr) -> str:
    """The last part of a dotted, perhaps subscripted name: `eqx.Module`, `AbstractPlanner[State]`."""
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _classes(sources: dict[str, ast.Module]) -> Iterator[tuple[str, ast.ClassDef]]:
    for file, tree in sources.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield file, node


def _equinox_modules(sources: dict[str, ast.Module]) -> dict[str, tuple[str, ast.ClassDef]]:
    """Name to file and definition of every class below `equinox.Module`."""
    classes = {node.name: (file, node) for file, node in _classes(sources)}
    modules: dict[str, tuple[str, ast.ClassDef]] = {}
    size = -1
    while len(modules) > size:
        size = len(modules)
        for name, (file, node) in classes.items():
            if any(ast.unparse(base) == "eqx.Module" or _name(base) in modules for base in node.bases):
                modules[name] = (file, node)
    return modules


def _functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, _Function]]:
    """Functions and methods with their qualified names; functions inside functions are an implementation's business."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _is_abstract(node: _Function) -> bool:
    return any("abstract" in ast.unparse(decorator) for decorator in node.decorator_list)


def test_modules_are_abstract_or_final(sources: dict[str, ast.Module]) -> None:
    modules = _equinox_modules(sources)
    wrong = [
        f"{file}:{node.lineno}: {name} inherits from {_name(base)}, which is final: call it Abstract*, or compose"
        for name, (file, node) in modules.items()
        for base in node.bases
        if _name(base) in modules and not _name(base).lstrip("_").startswith("Abstract")
    ]
    assert not wrong, "\n".join(wrong)


def test_no_method_is_overridden(sources: dict[str, ast.Module]) -> None:
    """A method is abstract or final: what a parent has implemented, a child does not implement again."""
    modules = _equinox_modules(sources)

    def implemented(name: str) -> dict[str, str]:
        methods: dict[str, str] = {}
        for base in modules[name][1].bases:
            if _name(base) in modules:
                methods |= implemented(_name(base))
                body = modules[_name(base)][1].body
                methods |= {f.name: _name(base) for f in body if isinstance(f, _Function) and not _is_abstract(f)}
        return methods

    wrong = [
        f"{file}:{method.lineno}: {name}.{method.name} overrides {implemented(name)[method.name]}'s"
        for name, (file, node) in modules.items()
        for method in node.body
        if isinstance(method, _Function) and method.name in implemented(name) and method.name != "__check_init__"
    ]
    assert not wrong, "\n".join(wrong)


def test_no_super_no_hasattr_and_no_print(sources: dict[str, ast.Module]) -> None:
    wrong = []
    for file, tree in sources.items():
        for node in ast.walk(tree):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            may_print = file in MAY_PRINT or file.split("/")[-1] == "__main__.py"
            if (
                called == "hasattr"
                or (called == "super" and file not in MAY_CALL_SUPER)
                or (called == "print" and not may_print)
            ):
                wrong.append(f"{file}:{getattr(node, 'lineno', 0)}: {called}()")
    assert not wrong, "\n".join(wrong)


def test_benchmarks_print_as_commands_do(benchmarks: dict[str, ast.Module]) -> None:
    """Through `show_result` and `parse`: of what else they print, `command` makes standard error."""
    called = {(file, ast.unparse(n.func)) for file, tree in benchmarks.items() for n in _calls(tree)}
    assert "show_result" in {name for _, name in called}
    wrong = [f"{file}: {name}()" for file, name in sorted(called) if name in ("print", "tyro.cli")]
    assert not wrong, "\n".join(wrong)


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_files_and_functions_are_small(sources: dict[str, ast.Module], line_counts: dict[str, int]) -> None:
    wrong = [
        f"{file}: {lines} lines, over {LONGEST_FILE}" for file, lines in line_counts.items() if lines > LONGEST_FILE
    ]
    for file, tree in sources.items():
        for name, node in _functions(tree):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST_FUNCTION + len((ast.get_docstring(node) or "").splitlines()):
                wrong.append(f"{file}:{node.lineno}: {name} has {lines} lines, over {LONGEST_FUNCTION} of code")
    assert not wrong, "\n".join(wrong)


def test_no_file_is_named_after_nothing(sources: dict[str, ast.Module]) -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "misc"}
    wrong = [file for file in sources if empty & {part.removesuffix(".py").lstrip("_") for part in file.split("/")}]
    assert not wrong, f"name these after what they hold: {wrong}"


def test_what_is_public_is_documented(sources: dict[str, ast.Module]) -> None:
    wrong = []
    for file, tree in sources.items():
        if tree.body and ast.get_docstring(tree) is None and not file.endswith("__init__.py"):
            wrong.append(f"{file}: no module docstring")
        public: list[tuple[str, _Function | ast.ClassDef]] = [
            (node.name, node)
            for node in tree.body
            if isinstance(node, _Function | ast.ClassDef) and not node.name.startswith("_")
        ]
        methods = [(name, node) for name, node in _functions(tree) if "." in name and _is_abstract(node)]
        wrong += [
            f"{file}:{node.lineno}: {name} has no docstring"
            for name, node in public + methods
            if ast.get_docstring(node) is None and not any(part.startswith("_") for part in name.split(".")[:-1])
        ]
    assert not wrong, "\n".join(wrong)


def test_every_function_is_annotated(sources: dict[str, ast.Module]) -> None:
    wrong = []
    for file, tree in sources.items():
        for name, node in _functions(tree):
            arguments = node.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            is_static = any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)
            bare = [a.arg for i, a in enumerate(named) if a.annotation is None and not ("." in name and i == 0)]
            if is_static and named and named[0].annotation is None:
                bare.insert(0, named[0].arg)
            bare += [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None and a.annotation is None]
            if node.returns is None:
                bare.append("return")
            if bare:
                wrong.append(f"{file}:{node.lineno}: {name} lacks annotations: {', '.join(bare)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("rule", "code", "message"),
    [
        (test_modules_are_abstract_or_final, "class A(eqx.Module): pass\nclass B(A[int]): pass", "B inherits from A"),
        (
            test_no_method_is_overridden,
            "class AbstractA(eqx.Module):\n def f(self): pass\nclass B(AbstractA):\n def f(self): pass",
            "B.f overrides AbstractA's",
        ),
        (test_no_super_no_hasattr_and_no_print, "hasattr(1, 'a')", r"hasattr\(\)"),
        (test_no_super_no_hasattr_and_no_print, "print(1)", r"print\(\)"),
        (test_benchmarks_print_as_commands_do, "print(show_result(1))", r"print\(\)"),
        (test_what_is_public_is_documented, "'x'\ndef f(): pass", "f has no docstring"),
        (
            test_what_is_public_is_documented,
            "'x'\nclass A:\n 'a'\n @abc.abstractmethod\n def f(self): pass",
            "A.f has no docstring",
        ),
        (test_every_function_is_annotated, "def f(a, *b) -> None: pass", "f lacks annotations: a, b"),
        (test_every_function_is_annotated, "class A:\n def f(self): pass", "A.f lacks annotations: return"),
    ],
)
def test_the_rules_bite(rule: Callable[[dict[str, ast.Module]], None], code: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        rule({"module.py": ast.parse(code)})
