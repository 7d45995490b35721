#!/usr/bin/env python3
"""A hook that posts to a webhook: on-restart = ["python3", "examples/alert_webhook.py", "https://chat.example/hook"]

The body is JSON with a `text`, as Slack, Mattermost and others take it, and the facts beside it."""
import json
import os
import sys
import urllib.request

told = os.environ.get
text = f"{told('TREEVISOR_INSTANCE')}: {told('TREEVISOR_MESSAGE')}"
if told("TREEVISOR_CAUSE") not in (None, told("TREEVISOR_MESSAGE")):
    text += f"\ncause: {told('TREEVISOR_CAUSE')}"
if told("TREEVISOR_OUTPUT"):
    text += "\n```\n" + "\n".join(told("TREEVISOR_OUTPUT").splitlines()[-10:]) + "\n```"
body = {"text": text, "subject": told("TREEVISOR_SUBJECT"), "hook": told("TREEVISOR_HOOK")}
for key, name in (("event", "TREEVISOR_EVENT"), ("cause", "TREEVISOR_CAUSE_EVENT")):
    body[key] = json.loads(told(name)) if told(name) else None
request = urllib.request.Request(sys.argv[1], json.dumps(body).encode(), {"Content-Type": "application/json"})
urllib.request.urlopen(request, timeout=20).close()
