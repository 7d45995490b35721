/* The big red button, in C: kills a part of a running tree, hung or not, and its supervisor starts it afresh.
 *
 *     cc -o panic_button examples/panic_button.c
 *     ./panic_button /lab/hearts [INSTANCE]
 *
 * The program is `treevisor panic`; how to ask a root without it is in docs/protocol.md, section 9. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    /* Set by treevisor for its workers, so that they find the treevisor that runs them. */
    const char *treevisor = getenv("TREEVISOR_EXE");
    if (count < 2) {
        fprintf(stderr, "usage: %s PATH [INSTANCE]\n", arguments[0]);
        return 2;
    }
    if (treevisor == NULL)
        treevisor = "treevisor";
    /* No shell in between: a path is one word, whatever it is. */
    if (count > 2)
        execlp(treevisor, "treevisor", "panic", "--instance", arguments[2], "--", arguments[1], (char *)NULL);
    else
        execlp(treevisor, "treevisor", "panic", "--", arguments[1], (char *)NULL);
    fprintf(stderr, "cannot run %s: %s\n", treevisor, strerror(errno));
    return 1;
}
