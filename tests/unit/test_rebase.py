"""Specs that move to another folder keep finding their data."""

from pathlib import Path

from equic.compiler.language.diagnostics import Report
from equic.compiler.language.rebase import rebase_paths
from equic.compiler.language.source import source_from_text

TEXT = """\
# a comment
data:
  train: {path: ../data/a.xyz, labels: {energy: {key: path}}}   # keys are not paths
  validation: 0.1
  test: {path: "b c.xyz"}
  others: {hot: {path: /abs/hot.xyz}}
"""


def test_only_relative_paths_change(tmp_path):
    old, new = tmp_path / "specs", tmp_path / "runs" / "deep"
    moved = rebase_paths(TEXT, str(old), str(new))
    data = source_from_text(moved, report=Report()).data["data"]
    assert (new / data["train"]["path"]).resolve() == (tmp_path / "data/a.xyz").resolve()
    assert (new / data["test"]["path"]).resolve() == (old / "b c.xyz").resolve()
    assert data["others"]["hot"]["path"] == "/abs/hot.xyz"
    assert data["train"]["labels"] == {"energy": {"key": "path"}}
    assert moved.count("#") == 2


def test_the_same_folder_changes_nothing():
    assert rebase_paths(TEXT, ".", str(Path.cwd())) == TEXT
