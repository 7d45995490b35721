/* The worker of the benchmarks: tells when it began to run, then does nothing until a signal ends it. */
#include "record.h"

int main(void)
{
    tell(FIRST_INSTRUCTION, now(CLOCK_MONOTONIC));
    for (;;)
        pause();
}
