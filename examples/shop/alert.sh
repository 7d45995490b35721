#!/bin/sh
# An alert: here a line in a file, in earnest a request to the address of a chat or a pager.
echo "$TREEVISOR_SUBJECT: $TREEVISOR_MESSAGE (first cause: $TREEVISOR_CAUSE)" >> alerts.log
