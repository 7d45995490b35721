#!/usr/bin/env python3
"""A hook that sends mail: on-escalate = ["python3", "examples/alert_mail.py", "ops@example.org", "localhost:25"]"""
import email.message
import os
import smtplib
import sys

variable = os.environ.get
to, (host, _, port) = sys.argv[1], (sys.argv[2] if len(sys.argv) > 2 else "localhost").partition(":")
mail = email.message.EmailMessage()
mail["From"], mail["To"] = f"treevisor@{os.uname().nodename}", to
mail["Subject"] = f"{variable('TREEVISOR_INSTANCE')}: {variable('TREEVISOR_MESSAGE')}"[:200].replace("\n", " ")
lines = [variable("TREEVISOR_MESSAGE"), f"Cause: {variable('TREEVISOR_CAUSE')}", "", variable("TREEVISOR_OUTPUT", "")]
lines += ["", f"treevisor -i {variable('TREEVISOR_INSTANCE')} why {variable('TREEVISOR_SUBJECT')}"]
mail.set_content("\n".join(line or "" for line in lines))
with smtplib.SMTP(host, int(port or 25), timeout=20) as server:
    server.send_message(mail)
