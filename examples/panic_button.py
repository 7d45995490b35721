#!/usr/bin/env python3
"""The big red button, in Python: kills a part of a running tree, hung or not, and its supervisor starts it afresh.

    pip install ./clients/python
    python3 examples/panic_button.py /lab/hearts [INSTANCE]
"""

import sys

import treevisor

if len(sys.argv) < 2:
    raise SystemExit(f"usage: {sys.argv[0]} PATH [INSTANCE]")
path, instance = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
try:
    detail = treevisor.panic(path, instance=instance)
except treevisor.TreevisorError as error:
    raise SystemExit(f"cannot panic {path}: {error}")
print(f"{path}: killed" + (f", {detail}" if detail else ""))
