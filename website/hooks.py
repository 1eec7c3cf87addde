"""Hooks of mkdocs: README.md is the home; modules, notebooks and files linked outside docs/ are pages; MathML."""

from __future__ import annotations

import ast
import html
import os
import re
from collections.abc import Iterator
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebooks import as_markdown, read_notebook  # beside this file

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MODULES = {
    "hardneg.api": "Functions and folders",
    "hardneg.api.datasets": "Datasets",
    "hardneg.api.negatives": "Negatives",
    "hardneg.models": "Backbones",
    "hardneg.sampling": "Samplers",
    "hardneg.judging": "Judges",
    "hardneg.evaluation": "Evaluation",
    "hardneg.pipeline": "Stages",
    "hardneg.data": "Data",
    "hardneg.types": "Shared types",
}
"""Modules whose public names have a page; a name is on the first page that has it."""
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
LANGUAGES = {".py": "python", ".yaml": "yaml"}
LOADED = re.compile(r"""<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")
"""An element that makes the browser fetch from another site."""
EQUATION = re.compile(r'<(div|span) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the home, the pages of modules, and those of linked files and folders that are no page yet."""
    documented: set[str] = set()
    for module, title in MODULES.items():
        names = [name for name in _public_names(module) if name not in documented]
        documented.update(names)
        members = f"\n    options: {{members: {names}}}" if names else ""
        text = f"# {title}\n\n`{module}`\n\n::: {module}{members}\n"
        files.append(File.generated(config, f"api/{module}.md", content=text))
    files.append(File.generated(config, "site.css", abs_src_path=str(ROOT / "website" / "site.css")))
    waiting = [DOCS / file.src_uri for file in files.documentation_pages() if file.generated_by is None]
    waiting += [ROOT / "README.md", *DOCS.glob("notebooks/*.ipynb")]
    known = {*waiting}
    while waiting:
        path = waiting.pop()
        uri = _uri(path)
        if uri not in files.src_uris:
            files.append(File.generated(config, uri, content=_with_links(_page_text(path), path, uri)))
        linked = {target for target in _targets(_page_text(path), path) if _needs_page(target)} - known
        known |= linked
        waiting += linked
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Point links that leave docs/ to the pages of these files."""
    uri = page.file.src_uri
    return markdown if page.file.generated_by else _with_links(markdown, DOCS / uri, uri)


def on_page_content(text: str, page: Page, **_: object) -> str:
    """Render equations as MathML, which browsers show without a script."""

    def render(match: re.Match[str]) -> str:
        rendered = convert(html.unescape(match[2]), display="block" if match[1] == "div" else "inline")
        if unknown := re.findall(r"<mi>\\\w+</mi>|\\[a-zA-Z]+", rendered):
            raise PluginError(f"{page.file.src_uri}: equation {match[2]!r} has unknown commands {unknown}")
        return f'<div class="equation">{rendered}</div>' if match[1] == "div" else rendered

    return EQUATION.sub(render, text)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a page that would load anything from another site."""
    for page in Path(config.site_dir).rglob("*.html"):
        if loaded := LOADED.search(page.read_text(encoding="utf-8")):
            raise PluginError(
                f"{page.relative_to(config.site_dir)} loads {loaded[1]}, expected files of this site only"
            )


def _uri(path: Path) -> str:
    """Return the path in the site of a file or folder of the repository."""
    if path == ROOT / "README.md":
        return "index.md"
    inside = path.relative_to(DOCS) if path.is_relative_to(DOCS) else Path("source", path.relative_to(ROOT))
    if path.is_dir():
        return (inside / "index.md").as_posix()
    if path.suffix == ".ipynb":
        return inside.with_suffix(".md").as_posix()
    return inside.as_posix() if path.suffix == ".md" else f"{inside.as_posix()}.md"


def _needs_page(path: Path) -> bool:
    return path.is_dir() or not path.is_relative_to(DOCS)


def _page_text(path: Path) -> str:
    """Return a file as Markdown; a folder as a list of its text files."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.suffix in {".md", *LANGUAGES})
        names = [file.relative_to(path).as_posix() for file in inside]
        return f"# {path.relative_to(ROOT)}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)
    if path.suffix == ".ipynb":
        return as_markdown(read_notebook(path))
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return f"# {path.relative_to(ROOT)}\n\n````{LANGUAGES[path.suffix]}\n{text}````\n"


def _targets(markdown: str, origin: Path) -> Iterator[Path]:
    for target in LINK.findall(markdown):
        path = Path(os.path.normpath(origin.parent / target)) if not origin.is_dir() else origin / target
        if path.is_relative_to(ROOT) and path.exists():
            yield path


def _with_links(markdown: str, origin: Path, uri: str) -> str:
    """Return the Markdown of `origin` with links for its place in the site."""
    folder = origin if origin.is_dir() else origin.parent

    def move(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(folder / match[1]))
        if not path.is_relative_to(ROOT) or not path.exists():
            return match[1]  # mkdocs reports it
        is_asset = path.is_relative_to(DOCS) and path.is_file() and path.suffix != ".ipynb"
        target = path.relative_to(DOCS).as_posix() if is_asset else _uri(path)
        return os.path.relpath(target, Path(uri).parent)

    return LINK.sub(move, markdown)


def _public_names(module: str) -> list[str]:
    """Return the names in `__all__` of a module, those it re-exports included."""
    path = ROOT / "src" / Path(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return [
        name
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        for name in ast.literal_eval(node.value)
    ]
