/* A worker that beats twenty times, 20 ms apart, and then goes silent.
 *
 * It speaks the protocol by hand (docs/protocol.md, section 11), so that the time of its last beat is the time of one write.
 * Where there is NOTIFY_SOCKET it beats by sd_notify. It tells its first instruction and its last beat. */
#include "record.h"
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static void read_all(int from, uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t got = read(from, bytes, size);
        if (got <= 0)
            _exit(4);
        bytes += got;
        size -= (size_t)got;
    }
}

/* The greeting of both sides. */
static int connect_zmtp(const char *endpoint)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, endpoint + 6, sizeof address.sun_path - 1);
    int node = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (node < 0 || connect(node, (struct sockaddr *)&address, sizeof address))
        _exit(6);
    uint8_t greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    static const char ready[] = "\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06" "DEALER\x08Identity\0\0\0";
    if (write(node, greeting, 64) != 64 || write(node, ready, sizeof ready) != sizeof ready)
        _exit(7);
    uint8_t answer[64 + 256];
    read_all(node, answer, 64 + 2);
    read_all(node, answer, answer[65]);
    return node;
}

static int connect_notify(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int node = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (node < 0 || connect(node, (struct sockaddr *)&address, sizeof address))
        _exit(6);
    return node;
}

int main(void)
{
    tell(FIRST_INSTRUCTION, now(CLOCK_MONOTONIC));
    const char *endpoint = getenv("TREEVISOR_ENDPOINT"), *token = getenv("TREEVISOR_TOKEN"), *path = getenv("NOTIFY_SOCKET");
    if (!endpoint || !token || strlen(token) != 32 || strncmp(endpoint, "ipc://", 6))
        return 5;
    char beat[] = "\x01\x03TV1\x01\x04" "BEAT\0\x20................................";
    memcpy(beat + 13, token, 32);
    const char *message = path ? "WATCHDOG=1" : beat;
    ssize_t size = path ? 10 : 45;
    int node = path ? connect_notify(path) : connect_zmtp(endpoint);
    uint64_t last = 0;
    for (int i = 0; i < 20; i++) {
        struct timespec pause = {0, 20000000};
        nanosleep(&pause, NULL);
        last = now(CLOCK_MONOTONIC);
        if (write(node, message, (size_t)size) != size)
            return 8;
    }
    tell(LAST_BEAT, last);
    for (;;)
        pause();
}
