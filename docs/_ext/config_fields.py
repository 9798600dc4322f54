"""Directive `config-fields`: a list of every config field of configs/default.py."""

import ast
import tokenize
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

DEFAULTS = Path(__file__).parents[2] / "configs" / "default.py"


def comments(path: Path) -> dict[int, str]:
    """Line number -> text of each comment that stands alone on its line."""
    found = {}
    with open(path, "rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip():
                found[token.start[0]] = token.string.removeprefix("#").strip()
    return found


def fields(path: Path = DEFAULTS) -> list[tuple[str, str, str]]:
    """(name, default as source, description) of each field that `get_config` assigns."""
    source = path.read_text()
    above = comments(path)
    function = next(
        n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == "get_config"
    )
    groups, rows = {"config": "config"}, []
    for statement in function.body:
        if not isinstance(statement, ast.Assign):
            continue
        value = ast.unparse(statement.value)
        if value == "config_dict.ConfigDict()":
            attribute = next((t for t in statement.targets if isinstance(t, ast.Attribute)), None)
            if attribute is not None:
                names = [t.id for t in statement.targets if isinstance(t, ast.Name)]
                groups |= dict.fromkeys(names, f"config.{attribute.attr}")
            continue
        (target,) = statement.targets
        if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
            continue
        lines, line = [], statement.lineno - 1
        while line in above:
            lines.insert(0, above[line])
            line -= 1
        rows.append((f"{groups[target.value.id]}.{target.attr}", value, " ".join(lines)))
    return rows


class ConfigFields(SphinxDirective):
    """The list, one entry per field."""

    def run(self):
        self.env.note_dependency(str(DEFAULTS))
        text = []
        for name, default, meaning in fields():
            # Angle brackets would be taken for HTML.
            meaning = meaning.replace("<", "\\<") or "See above."
            text += [f"`{name} = {default}`", f": {meaning}", ""]
        node = nodes.container()
        self.state.nested_parse(StringList(text, source=str(DEFAULTS)), self.content_offset, node)
        return node.children


def setup(app):
    app.add_directive("config-fields", ConfigFields)
    return {"parallel_read_safe": True}
