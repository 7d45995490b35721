/* The floor under every supervisor on this kernel: starts N copies of a program, starts each anew as soon as it ends, and on
 * SIGTERM asks all of them at once to end, waits, and goes. Nothing is checked, logged, captured or limited.
 *
 *   floor [-d] N PROGRAM [ARGUMENT...]
 *
 * -d adds, for each child, what a supervisor that is to be relied on cannot leave out: a session of its own, default signal
 * dispositions, no inherited descriptors, death with its parent, its output in a pipe that is read, and a kill of what is
 * left of its process group. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    pid_t pid;
    int pidfd;
    int output;
    int output_for_child;
};

static int duties, epoll, running;
static unsigned count;
static struct child *children;
static char **command;
extern char **environ;

static void fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int child_half(void *argument)
{
    struct child *child = argument;
    uint64_t none = 0;
    if (duties) {
        uint64_t as_default[4] = {0};
        for (long signal = 1; signal <= 64; signal++)
            syscall(SYS_rt_sigaction, signal, as_default, NULL, 8);
        syscall(SYS_setsid);
        /* Unshares the table without copying the thousands of descriptors that the parent has; 0 to 15 stay. */
        syscall(SYS_close_range, 16, ~0u, 2u /* CLOSE_RANGE_UNSHARE */);
        syscall(SYS_dup3, child->output_for_child, 1, 0);
        syscall(SYS_dup3, child->output_for_child, 2, 0);
        syscall(SYS_close_range, 3, ~0u, 0);
        syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (syscall(SYS_getppid) == 1)
            syscall(SYS_exit_group, 126);
    }
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
    syscall(SYS_execve, command[0], command, environ);
    syscall(SYS_exit_group, 127);
    return 0;
}

static void start(unsigned index)
{
    static char stack[65536] __attribute__((aligned(16)));
    struct child *child = &children[index];
    int ends[2] = {-1, -1};
    int flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
    if (duties) {
        if (pipe2(ends, O_CLOEXEC))
            fail("pipe2");
        /* A low number, kept for this, that survives the unsharing in the child. */
        child->output_for_child = dup3(ends[1], 10, O_CLOEXEC);
        flags |= CLONE_FILES;
    }
    child->output = ends[0];
    child->pid = clone(child_half, stack + sizeof stack, flags, child, &child->pidfd);
    if (child->pid < 0)
        fail("clone");
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = index};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, child->pidfd, &event))
        fail("epoll_ctl");
    if (duties) {
        close(ends[1]);
        dup3(0, 10, O_CLOEXEC);
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        event.data.u64 = index | 1ull << 32;
        epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    }
    running++;
}

static void read_output(struct child *child, int at_end)
{
    char bytes[4096];
    ssize_t got;
    while ((got = read(child->output, bytes, sizeof bytes)) > 0)
        ;
    if (got == 0 || at_end)
        epoll_ctl(epoll, EPOLL_CTL_DEL, child->output, NULL);
}

int main(int argc, char **argv)
{
    int at = 1;
    if (argc > 1 && !strcmp(argv[1], "-d"))
        duties = at++;
    if (argc < at + 2 || !(count = (unsigned)atoi(argv[at])))
        return 2;
    command = argv + at + 1;
    children = calloc(count, sizeof *children);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    sigset_t all, stops;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    int signals = signalfd(-1, &stops, SFD_CLOEXEC);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    if (signals < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, signals, &event))
        fail("signalfd");
    if (duties)
        dup3(0, 10, O_CLOEXEC);

    /* With a look at the descriptors between the starts, as any event loop would: a SIGTERM may come in the middle. */
    unsigned started = 0;
    int stopping = 0;
    struct epoll_event events[64];
    while (!stopping || running) {
        if (!stopping && started < count)
            start(started++);
        int ready = epoll_wait(epoll, events, 64, !stopping && started < count ? 0 : -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.u64 == UINT64_MAX) {
                struct signalfd_siginfo info;
                if (read(signals, &info, sizeof info) > 0 && !stopping) {
                    stopping = 1;
                    for (unsigned c = 0; c < started; c++)
                        if (children[c].pidfd >= 0)
                            syscall(SYS_pidfd_send_signal, children[c].pidfd, SIGTERM, NULL, 0);
                }
                continue;
            }
            unsigned index = (unsigned)events[i].data.u64;
            struct child *child = &children[index];
            if (events[i].data.u64 >> 32) {
                if (child->output >= 0)
                    read_output(child, 0);
                continue;
            }
            siginfo_t info;
            if (child->pidfd < 0 || waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG))
                continue;
            epoll_ctl(epoll, EPOLL_CTL_DEL, child->pidfd, NULL);
            close(child->pidfd);
            child->pidfd = -1;
            running--;
            if (duties) {
                kill(-child->pid, SIGKILL);
                read_output(child, 1);
                close(child->output);
                child->output = -1;
            }
            if (!stopping)
                start(index);
        }
    }
    return 0;
}
