"""Reports to treevisor that this program does its work.

    import treevisor
    heart = treevisor.Heart()
    for job in jobs:
        work(job)
        heart.beat()

Without a supervisor, all of it does nothing. `status`, `panic` and `follow` talk to a running tree.
"""

from ._control import Control, NoAnswer, NoInstance, NotDone, Refused, TreevisorError, panic, status
from ._events import Events, follow
from ._heart import Heart

__all__ = [
    "Control",
    "Events",
    "Heart",
    "NoAnswer",
    "NoInstance",
    "NotDone",
    "Refused",
    "TreevisorError",
    "follow",
    "panic",
    "status",
]
__version__ = "0.1.0"
