#!/usr/bin/env bash
# ruamel.yaml 0.19.1: a file of Windows' line ends, read and written again with line_break="\r\n", gets "\r\r\n" behind
# every comment, and "\r\n" elsewhere: the comment is kept with the "\r" it was read with. YAML reads "\r" as a line end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check ruamel.yaml==0.19.1
"$folder/venv/bin/python" - <<'PY'
import io
from importlib.metadata import version

from ruamel.yaml import YAML


def again(text: str) -> str:
    yaml, out = YAML(), io.StringIO(newline="")
    yaml.line_break = "\r\n"
    yaml.dump(yaml.load(text), out)
    return out.getvalue()


once = again("a: 1  # one\r\nb: 2\r\n")
print("ruamel.yaml", version("ruamel.yaml"), repr(once))
assert once == "a: 1  # one\r\r\nb: 2\r\n", "it is otherwise now"
assert again("a: 1\r\nb: 2\r\n") == "a: 1\r\nb: 2\r\n", "without a comment the line ends are as they were"
PY
