"""The shape of the package: few names, and imports that flow one way."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import emotion

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "emotion"
ORDER = (
    "errors",
    "labels",
    "results",
    "boxes",
    "geometry",
    "images",
    "weights",
    "preprocess",
    "facenet",
    "fold",
    "model",
    "yunet_file",
    "detect",
    "landmarks",
    "align",
    "quality",
    "classify",
    "evidence",
    "cam",
    "regions",
    "contrast",
    "facs",
    "faithfulness",
    "parts",
    "occlusion",
    "methods",
    "render",
    "stopwatch",
    "pipeline",
    "smooth",
    "track",
    "stream",
    "serialize",
    "report",
    "report_page",
    "verify",
    "benchmark",
    "benchmark_stream",
    "cli_explain",
    "cli",
    "ui",
)
"""A module imports only what stands before it here."""

ENTRY = ("__init__", "__main__")
"""These gather the others and are imported by none."""


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports anywhere, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(path: Path) -> str:
    """The module of a file, or the subpackage that it lies in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_at_most_twelve_names_and_all_are_there() -> None:
    assert len(emotion.__all__) == len(set(emotion.__all__)) <= 12
    for name in emotion.__all__:
        assert getattr(emotion, name) is not None


def test_every_module_has_its_place() -> None:
    assert {part(path) for path in sources()} - set(ENTRY) <= set(ORDER)


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_flow_one_way(path: Path) -> None:
    own = part(path)
    for name in imports(path):
        if not name.startswith("emotion."):
            continue
        other = name.split(".")[1]
        if own in ENTRY or other not in ORDER or other == own == "ui":
            continue  # `from emotion import X` names a thing of the package, not a module
        assert ORDER.index(other) < ORDER.index(own), f"{own} imports {other}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_library_knows_neither_training_nor_the_page(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert "train" not in roots
    assert "gradio" not in roots or part(path) == "ui"


def test_files_are_short() -> None:
    for path in sources():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path.name


def test_import_is_light() -> None:
    """face_recognition loads its models at import, and gradio takes seconds."""
    heavy = ("face_recognition", "dlib", "gradio", "skimage", "train")
    code = f"import sys, emotion; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
