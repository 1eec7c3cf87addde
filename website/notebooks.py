"""Notebooks without Jupyter: run their cells, store the outputs, and print them as Markdown for the site.

python website/notebooks.py docs/notebooks/*.ipynb    # runs each in an empty folder and stores its outputs
"""

from __future__ import annotations

import ast
import base64
import io
import json
import os
import sys
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def read_notebook(path: Path) -> dict[str, Any]:
    """Read a notebook of format 4. Raises ValueError for another format."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if notebook["nbformat"] != 4:
        raise ValueError(f"{path}: found notebook format {notebook['nbformat']}, expected 4")
    return notebook


def run_cells(notebook: dict[str, Any]) -> None:
    """Run the code cells in order, in the working directory, and replace their outputs."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        cell["execution_count"], cell["outputs"] = number, _run(_text(cell["source"]), scope, number)


def as_markdown(notebook: dict[str, Any]) -> str:
    """Return the cells, their outputs included, as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        text = _text(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        parts += [_shown(output) for output in cell.get("outputs", [])]
    return "\n\n".join(parts) + "\n"


def _run(source: str, scope: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Return what a cell prints, the value of its last expression, and its figures."""
    tree, printed, value = ast.parse(source), io.StringIO(), None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(printed), redirect_stderr(io.StringIO()):
        exec(compile(tree, f"cell {number}", "exec"), scope)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), scope)  # noqa: S307
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    figures = _figures()
    if value is not None and not figures:
        data = {"text/plain": _lines(repr(value))}
        outputs.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data})
    return outputs + [{"output_type": "display_data", "metadata": {}, "data": data} for data in figures]


def _figures() -> list[dict[str, Any]]:
    """Return the open figures as PNG, and close them."""
    if "matplotlib.pyplot" not in sys.modules:
        return []
    from matplotlib import pyplot

    pictures = []
    for number in pyplot.get_fignums():
        file = io.BytesIO()
        pyplot.figure(number).savefig(file, format="png", dpi=90, metadata={"Software": None})
        pictures.append({"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": ["a figure"]})
    pyplot.close("all")
    return pictures


def _shown(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f"![Figure of the cell above](data:image/png;base64,{_text(data['image/png']).strip()})"
    return f"```text\n{_text(output.get('text') or data['text/plain']).rstrip()}\n```"


def _text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main() -> None:
    """Run the notebooks of the command line."""
    os.environ["MPLBACKEND"] = "agg"
    for path in map(Path.resolve, map(Path, sys.argv[1:])):
        notebook = read_notebook(path)
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            run_cells(notebook)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
