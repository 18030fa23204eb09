"""Writes docs/configuration.md out of the configuration's own docstrings."""

from __future__ import annotations

import sys

import msgspec
from msgspec import Struct

from paceline.policies.describe import Setting, settings, summary
from paceline.proxy.config import (
    BackendConfig,
    Config,
    DiscoveryConfig,
    ModelConfig,
    RuleConfig,
)

HEAD = """# Configuration

<!-- Made by scripts/docs from the docstrings in the code: change it there. -->

One TOML file, named with `paceline serve -c FILE`; without one, every setting has the default shown
here. `paceline check -c FILE` validates it. An unknown key or a wrong type is refused in one line
that names file and key. The command line overrides the file: `--host`, `--port`, `--workers`,
`--log-format`, `--record`, `--policy` and `--backend` (which replaces all `[[backends]]`). Settings
are not read from the environment; those that end in `_env` name a variable with a secret. Files are
looked for from the working directory. SIGHUP reads the file again ([Operations](operations.md)).

```toml
[policy]
name = "auto"

[[backends]]
url = "http://10.0.0.7:8000"

[[backends]]
url = "http://10.0.0.8:30000"
name = "second"
```
"""


def reference() -> str:
    """The page, in Markdown."""
    tables = [(f"[{field.name}]", field.type) for field in msgspec.structs.fields(Config)]
    sections = [section(name, cls) for name, cls in tables if isinstance(cls, type)]
    lists = (
        ("[[backends]]", BackendConfig),
        ("[[discovery]]", DiscoveryConfig),
        ("[[models]]", ModelConfig),
        ("[[rules]]", RuleConfig),
    )
    sections += [section(name, cls) for name, cls in lists]
    return "\n".join([HEAD, *sections])


def section(name: str, cls: type[Struct]) -> str:
    """What is said of one table, in Markdown."""
    about = summary(cls).removeprefix(f"`{name}`: ")
    rows = "".join(_row(setting) for setting in settings(cls))
    head = f"## `{name}`\n\n{about[:1].upper()}{about[1:]}\n\n"
    return f"{head}| key | type | default | |\n|---|---|---|---|\n{rows}"


def _row(setting: Setting) -> str:
    default = "*required*" if setting.default is None else f"`{setting.default}`"
    kind = setting.type.replace("'", '"').replace("|", "\\|")
    return f"| `{setting.name}` | `{kind}` | {default} | {setting.doc} |\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
