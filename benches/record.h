/* What the workers of the benchmarks tell: records in the FIFO that BENCH_FIFO names. The name comes by the environment and not
 * as an argument, so that the very same file can be started by any supervisor, with no shell between. */
#ifndef RECORD_H
#define RECORD_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    FIRST_INSTRUCTION, /* Its time. All times are of CLOCK_MONOTONIC, in nanoseconds. */
    LAST_BEAT,         /* Its time. */
    BEATS,             /* So many were sent. */
    LONGEST_GAP,       /* The longest time between two of them. */
    CPU_TIME,          /* Of the process. */
    COUNTED            /* So many messages have come. */
};

struct record {
    uint64_t number;
    uint32_t pid;
    uint32_t kind;
};

static inline uint64_t now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline void tell(uint32_t kind, uint64_t number)
{
    struct record record = {number, (uint32_t)getpid(), kind};
    const char *name = getenv("BENCH_FIFO");
    int fifo = name ? open(name, O_WRONLY | O_CLOEXEC) : -1;
    if (fifo < 0 || write(fifo, &record, sizeof record) != sizeof record)
        _exit(3);
    close(fifo);
}

#endif
