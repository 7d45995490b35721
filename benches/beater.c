/* A worker that beats in every interval, on the beat, until SIGUSR1; then it tells what it has done and rests.
 *
 * What to beat for it gets as every worker does, by its environment: by sd_notify where there is NOTIFY_SOCKET, else through
 * the C client. Its last beat announces a long silence, so that no supervisor minds the rest.
 *
 * At its end it tells the beats that the kernel has taken from it, the longest time between two of them, and its CPU time. */
#define _GNU_SOURCE
#include "../clients/c/treevisor.h"
#include "record.h"
#include <signal.h>

static volatile sig_atomic_t over;

static void end(int signal)
{
    (void)signal;
    over = 1;
}

static int notify = -1;
static struct sockaddr_un receiver = {.sun_family = AF_UNIX};
static treevisor_heart heart;
static uint64_t beats;

/* As libsystemd does it, this waits when the receiver's queue is full. */
static void say(const char *text)
{
    while (sendto(notify, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&receiver, sizeof receiver) < 0)
        if (errno != EINTR)
            _exit(4);
}

static void beat(int last)
{
    if (notify >= 0) {
        say(last ? "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=3600000000" : "WATCHDOG=1");
    } else {
        if (last)
            treevisor_busy_for(&heart, 3600 * 1000);
        treevisor_beat(&heart);
    }
    beats++;
}

int main(void)
{
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGUSR1, &action, NULL);
    tell(FIRST_INSTRUCTION, now(CLOCK_MONOTONIC));

    const char *socket_path = getenv("NOTIFY_SOCKET"), *interval = getenv("TREEVISOR_HEARTBEAT_MS");
    uint64_t step = (uint64_t)(interval ? atoi(interval) : 0) * 1000000u;
    if (!step)
        return 5;
    if (socket_path) {
        strncpy(receiver.sun_path, socket_path, sizeof receiver.sun_path - 1);
        notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    } else {
        heart = treevisor_open();
    }
    uint64_t last = 0, longest = 0, due = now(CLOCK_MONOTONIC);
    while (!over) {
        uint64_t before = now(CLOCK_MONOTONIC);
        if (last && before - last > longest)
            longest = before - last;
        last = before;
        beat(0);
        /* In step; beats that a late wake-up has cost are not made up for, as a burst is no rhythm. */
        while ((due += step) <= before)
            ;
        struct timespec until = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    beat(1);
    if (notify < 0 && !treevisor_deliver(&heart, 10000))
        return 6;
    /* Not the calls: after a late wake-up the next beat in step may come too soon after it, and the client leaves it out. */
    tell(BEATS, notify >= 0 ? beats : heart.seq);
    tell(LONGEST_GAP, longest);
    tell(CPU_TIME, now(CLOCK_PROCESS_CPUTIME_ID));
    for (;;)
        pause();
}
