/* The worker of the benchmarks: tells when it began to run, then does nothing until a signal ends it.
 *
 * One record goes into the FIFO that BENCH_FIFO names: { nanoseconds of CLOCK_MONOTONIC, pid, kind }. The name comes by the
 * environment and not as an argument, so that the very same file can be started by any supervisor, with no shell between. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct record {
    uint64_t nanoseconds;
    uint32_t pid;
    uint32_t kind; /* 0: first instruction */
};

int main(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);

    struct record record = {(uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec, (uint32_t)getpid(), 0};
    const char *name = getenv("BENCH_FIFO");
    int fifo = name ? open(name, O_WRONLY | O_CLOEXEC) : -1;
    if (fifo < 0 || write(fifo, &record, sizeof record) != sizeof record)
        return 3;
    close(fifo);
    for (;;)
        pause();
}
