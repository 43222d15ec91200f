"""Walks through the workflow service with Python's standard library. Prints what it found as JSON."""

import json
import sys
import time
import urllib.error
import urllib.request

URL, KEY = sys.argv[1], sys.argv[2]


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "X-API-Key": KEY}
    request = urllib.request.Request(URL + path, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


health = call("GET", "/health")
submitted = call(
    "POST",
    "/run-graph",
    {
        "workflow_type": "graph",
        "tasks": [
            {"agent_id": "1", "agent_role": "frontend", "input_data": {"task": "Do ui"}, "depends_on": []},
            {"agent_id": "2", "agent_role": "qa", "input_data": {"task": "Do review"}, "depends_on": ["1"]},
        ],
        "metadata": {"from": "python"},
    },
)
workflow_id = submitted[1]["workflow_id"]
deadline = time.monotonic() + 60
while True:
    status = call("GET", "/status/" + workflow_id)
    if status[1]["status"] not in ("pending", "running") or time.monotonic() > deadline:
        break
    time.sleep(0.05)
listed = call("GET", "/workflows?status=completed&limit=10")
refused = call("POST", "/run-graph", {"workflow_type": "graph", "tasks": []})
deleted = call("DELETE", "/workflows/" + workflow_id)
gone = call("GET", "/status/" + workflow_id)
print(
    json.dumps(
        {
            "health": health,
            "submitted": submitted,
            "status": status,
            "listed": listed,
            "refused": refused[0],
            "deleted": deleted[0],
            "gone": gone[0],
        }
    )
)
