#!/usr/bin/env python3
"""A hook that posts to a webhook: on-restart = ["python3", "examples/alert_webhook.py", "https://chat.example/hook"]

The body is JSON with a `text`, as Slack, Mattermost and others take it, and the facts beside it."""
import json
import os
import sys
import urllib.request

variable = os.environ.get
text = f"{variable('TREEVISOR_INSTANCE')}: {variable('TREEVISOR_MESSAGE')}"
if variable("TREEVISOR_CAUSE") not in (None, variable("TREEVISOR_MESSAGE")):
    text += f"\ncause: {variable('TREEVISOR_CAUSE')}"
if variable("TREEVISOR_OUTPUT"):
    text += "\n```\n" + "\n".join(variable("TREEVISOR_OUTPUT").splitlines()[-10:]) + "\n```"
body = {"text": text, "subject": variable("TREEVISOR_SUBJECT"), "hook": variable("TREEVISOR_HOOK")}
for key, name in (("event", "TREEVISOR_EVENT"), ("cause", "TREEVISOR_CAUSE_EVENT")):
    body[key] = json.loads(variable(name)) if variable(name) else None
request = urllib.request.Request(sys.argv[1], json.dumps(body).encode(), {"Content-Type": "application/json"})
urllib.request.urlopen(request, timeout=20).close()
