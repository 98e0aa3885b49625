#!/usr/bin/env bash
# open-inference-openapi 2.0.0, the Open Inference Protocol's own client of PyPI: text that looks like a number leaves as a
# number, although its tensor is BYTES, and whole numbers leave as floats. A server sees 14228.0 for the code "014228": the
# zero is gone, and nothing in the request tells that it was ever there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check open-inference-openapi==2.0.0 httpx==0.28.1 pydantic==2.13.4
"$folder/venv/bin/python" - <<'PY'
import json
from importlib.metadata import version

import httpx
from open_inference.openapi.client import InferenceRequest, OpenInferenceClient

sent = []


def server(request):
    sent.extend(json.loads(request.content)["inputs"][0]["data"])
    return httpx.Response(200, json={"model_name": "any", "outputs": []})


client = OpenInferenceClient(base_url="http://server", httpx_client=httpx.Client(transport=httpx.MockTransport(server)))
tensor = {"name": "code", "shape": [3], "datatype": "BYTES", "data": ["014228", "1e3", "N14228"]}
client.model_infer("any", request=InferenceRequest(inputs=[tensor]))
print("open-inference-openapi", version("open-inference-openapi"), "given", tensor["data"], "sends", sent)
assert sent == [14228.0, 1000.0, "N14228"], "it is otherwise now"
PY
