/* Arrhythmia: a worker whose heart cannot keep time, in C.
 *
 *     cc -Iclients/c -o arrhythmic examples/arrhythmic.c
 *     treevisor run --heartbeat 1s --misses 2 -- ./arrhythmic
 *
 * Each turn of its loop takes a random time of up to three intervals, then it beats; and in one turn out of ten it
 * crashes with a segmentation fault. Its supervisor takes the long pauses for a hang and the crash for what it is. */
#include "treevisor.h"

#include <signal.h>
#include <sys/resource.h>

int main(void)
{
    treevisor_heart heart = treevisor_open();
    const char *interval = getenv("TREEVISOR_HEARTBEAT_MS");
    const struct rlimit no_core = {0, 0}; /* The crashes are on purpose; their core files are not needed. */
    char status[32];
    unsigned turn;
    setrlimit(RLIMIT_CORE, &no_core);
    srand((unsigned)getpid());
    for (turn = 1;; turn++) {
        long nap = rand() % (3 * (interval ? atol(interval) : 1000));
        struct timespec pause = {nap / 1000, nap % 1000 * 1000000};
        nanosleep(&pause, NULL);
        if (rand() % 10 == 0) {
            fputs("my heart!\n", stderr);
            raise(SIGSEGV);
        }
        snprintf(status, sizeof status, "turn %u", turn);
        treevisor_status(&heart, status);
        treevisor_beat(&heart);
    }
}
