"""Holds the dashboards against the types that Grafana publishes: `make check-boards`, which needs Node and npm."""

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGES = ("@grafana/schema@13.2.3", "typescript@5.9.3")
OF_PANELS = {"timeseries": "TimeSeriesPanelCfg", "stat": "StatPanelCfg", "table": "TablePanelCfg"}
TYPES = "@grafana/schema/dist/esm/raw/composable"
STRICT = ("--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "node", "--target", "es2022")


def typed() -> str:
    """TypeScript in which each board, and each panel's options, has the type that it must have."""
    lines = ["import type { Dashboard } from '@grafana/schema';"]
    lines += [
        f"import type * as {k} from '{TYPES}/{k}/panelcfg/x/{v}_types.gen';" for k, v in OF_PANELS.items()
    ]
    for path in sorted((Path(__file__).parent / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        lines.append(f"export const {path.stem}: Dashboard = {json.dumps(board)};")
        for number, panel in enumerate(board["panels"]):
            options = f"{path.stem}_{number}: Partial<{panel['type']}.Options>"
            lines.append(f"export const {options} = {json.dumps(panel['options'])};")
    return "\n".join(lines)


def main() -> None:
    """Ends with 1, and says where, if a board is not what Grafana's types say."""
    with TemporaryDirectory() as folder:
        Path(folder, "boards.ts").write_text(typed())
        subprocess.run(["npm", "install", "--silent", "--prefix", folder, *PACKAGES], check=True)
        done = subprocess.run(["npx", "tsc", *STRICT, "boards.ts"], cwd=folder, check=False)
    print("the boards are as Grafana's types have them" if done.returncode == 0 else "they are not")
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
