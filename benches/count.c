/* The floor under every receiver of beats: starts N copies of a program, with the same environment as workers, and counts the
 * messages that come. Nothing in them is looked at, no time is noted, no worker is judged.
 *
 *   count router N SOCKET PROGRAM       one ROUTER of the very libzmq that treevisor is built with, and a blocking receive
 *   count datagrams N SOCKET PROGRAM    one socket for all, as systemd has it, and a blocking recvmsg with credentials
 *
 * On SIGUSR2 it tells the number so far, in the FIFO of the benchmark; on SIGTERM it ends its process group. */
#define _GNU_SOURCE
#include "record.h"
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Of zmq.h, whose numbers never change. */
enum { ZMQ_ROUTER = 6, ZMQ_RCVMORE = 13, ZMQ_BACKLOG = 19 };
void *zmq_ctx_new(void);
void *zmq_socket(void *, int);
int zmq_setsockopt(void *, int, const void *, size_t);
int zmq_getsockopt(void *, int, void *, size_t *);
int zmq_bind(void *, const char *);
int zmq_recv(void *, void *, size_t, int);

static volatile uint64_t messages;

static void tell_count(int signal)
{
    (void)signal;
    tell(COUNTED, messages);
}

static void stop(int number)
{
    signal(number, SIG_IGN);
    kill(0, number);
    _exit(0);
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void start(int number, char *program)
{
    extern char **environ;
    char *command[] = {program, NULL};
    pid_t pid;
    for (int i = 0; i < number; i++)
        if (posix_spawn(&pid, program, NULL, NULL, command, environ))
            fail("posix_spawn");
}

static void count_router(int number, const char *path, char *program)
{
    char endpoint[128], frame[512];
    int backlog = 1024, more;
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
    if (!socket || zmq_setsockopt(socket, ZMQ_BACKLOG, &backlog, sizeof backlog) || zmq_bind(socket, endpoint))
        fail("zmq_bind");
    setenv("TREEVISOR_ENDPOINT", endpoint, 1);
    setenv("TREEVISOR_TOKEN", "0123456789abcdef0123456789abcdef", 1);
    start(number, program);
    for (;;) {
        size_t size = sizeof more;
        if (zmq_recv(socket, frame, sizeof frame, 0) < 0)
            continue; /* By a signal. */
        zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size);
        if (!more)
            messages++;
    }
}

static void count_datagrams(int number, const char *path, char *program)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int on = 1, here = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (setsockopt(here, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) || bind(here, (struct sockaddr *)&address, sizeof address))
        fail("bind");
    setenv("NOTIFY_SOCKET", path, 1);
    start(number, program);
    for (;;) {
        char bytes[4096], control[64];
        struct iovec part = {bytes, sizeof bytes};
        struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        if (recvmsg(here, &header, 0) > 0)
            messages++;
    }
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sigaction action = {.sa_handler = tell_count};
    sigaction(SIGUSR2, &action, NULL);
    action.sa_handler = stop;
    sigaction(SIGTERM, &action, NULL);
    (!strcmp(argv[1], "router") ? count_router : count_datagrams)(atoi(argv[2]), argv[3], argv[4]);
}
