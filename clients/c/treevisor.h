/* treevisor.h: reports to treevisor that this program does its work.
 *
 *     #include "treevisor.h"
 *     treevisor_heart heart = treevisor_open();
 *     while (work())
 *         treevisor_beat(&heart);
 *
 * Copy this one file. C99 or C++, Linux, no library. What it promises:
 *
 * - Without a supervisor (no TREEVISOR_ENDPOINT in the environment), every function does nothing.
 * - No function waits, with two exceptions: the first message of a connection may wait for the supervisor's half of the
 *   handshake, 10 ms at most and once; and treevisor_deliver() waits as long as its caller sets. A supervisor that is
 *   dead, stopped or slow costs nothing but beats: they are dropped, not queued.
 * - A connection that is gone is made anew by a later call, at most every 50 ms.
 * - No signal is raised, errno is left alone, nothing is allocated; one descriptor, closed on exec; no thread.
 * - A forked child does not speak for its parent: the heart that it inherits is silent in it. One that it opens itself
 *   sends, and leaves the sequence number to the parent.
 *
 * A heart is for one thread at a time. Beat from the loop that does the work, not from a thread beside it: a thread goes
 * on beating while the work is stuck.
 *
 * What goes over the wire is specified in docs/protocol.md. Licensed under MIT or Apache-2.0, at your choice.
 */
#ifndef TREEVISOR_H
#define TREEVISOR_H

#if defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L /* Takes effect if this is the first header; else give it to the compiler. */
#endif

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The first message of a connection may wait this long for the supervisor's half of the handshake; 0 for never, then the
 * message goes with the next call. */
#ifndef TREEVISOR_HANDSHAKE_WAIT_MS
#define TREEVISOR_HANDSHAKE_WAIT_MS 10
#endif

enum {
    TREEVISOR__RECONNECT_GAP_MS = 50,
    TREEVISOR__BEAT_GAP_MIN_MS = 10,
    TREEVISOR__LEASE_END_GAP_MS = 20,
    TREEVISOR__INTERVAL_ASSUMED_MS = 1000,
    TREEVISOR__TOKEN_LEN = 32,
    TREEVISOR__STATUS_MAX = 256,
    TREEVISOR__GREETING_LEN = 64,
    TREEVISOR__HELD_MAX = 512, /* Longer commands are none that this side could know; they are passed over. */
    TREEVISOR__READS_MAX = 4,  /* A supervisor that sends without end must not hold up the program. */
    TREEVISOR__CLOSED = -2,    /* The other side has closed the connection, and had read all of it. */
    TREEVISOR__NEVER = -1
};

/* Messages, as bits of a set. */
enum { TREEVISOR__READY = 1, TREEVISOR__BEAT = 2, TREEVISOR__STOPPING = 4 };

enum { TREEVISOR__IN_GREETING, TREEVISOR__IN_HEAD, TREEVISOR__IN_COMMAND };

/* A heart. Its members are private but `dropped`: how many beats were not sent because the supervisor was
 * gone or had left no room. All zero is a silent heart. */
typedef struct treevisor_heart {
    uint64_t dropped;
    int supervised;
    int counts;
    pid_t owner;
    struct sockaddr_un address;
    char token[TREEVISOR__TOKEN_LEN];
    int64_t interval_ms;
    /* What the next beat carries. */
    uint64_t seq, progress, pending;
    int has_progress, has_pending;
    char status[TREEVISOR__STATUS_MAX];
    size_t status_len;
    int64_t next_lease_ms, lease_ms, leased_until;
    int64_t last_beat;
    /* Which messages have ever been set; are to be sent; are in `out`; were given to this connection. */
    unsigned said, due, in_flight, entrusted;
    int held_back;
    /* The connection. */
    int fd;
    int waited;
    int64_t last_connect;
    unsigned char out[1280];
    size_t out_len, out_sent;
    /* The other side's bytes: the greeting, the head of a frame, or a command, as far as it is there. */
    int stage;
    int is_ready;
    unsigned char held[TREEVISOR__HELD_MAX];
    size_t held_len, command_len;
    uint64_t skip;
} treevisor_heart;

/* The heart of this process, as its environment says; silent when that has no endpoint, or none of use. It begins to
 * connect, so that the connection is ready when the first beat comes. */
static inline treevisor_heart treevisor_open(void);

/* Beats, if it is time: a call that comes less than a quarter of the interval after the last beat sends nothing, so it
 * can stand in the innermost loop. What it held back goes with the next one that is sent. */
static inline void treevisor_beat(treevisor_heart *heart);

/* From the next beat on: how much is done so far. With `progress = true` for this worker, a number that does not move is
 * a hang. Any change counts. */
static inline void treevisor_progress(treevisor_heart *heart, uint64_t done);

/* From the next beat on: how much waits to be done. With 0 the progress may stand still. */
static inline void treevisor_pending(treevisor_heart *heart, uint64_t waiting);

/* From the next beat on: a line for people, at most 256 bytes of UTF-8; the rest is cut. NULL or "" is none. */
static inline void treevisor_status(treevisor_heart *heart, const char *text);

/* With the next beat, and only with that: no other may come for so long. For a piece of work that cannot beat. */
static inline void treevisor_busy_for(treevisor_heart *heart, uint64_t milliseconds);

/* The start is over, or: the end is near. Sent again on each new connection. */
static inline void treevisor_ready(treevisor_heart *heart);
static inline void treevisor_stopping(treevisor_heart *heart);

/* Leaves the sequence number out: for one process of several that beat for the same worker. */
static inline void treevisor_uncounted(treevisor_heart *heart);

/* Waits until the supervisor has taken all that was sent, but no longer than this; for a program that ends right after
 * a message. Closes the connection; a later message makes a new one. 1: taken, or there is no supervisor. 0: not taken.
 * */
static inline int treevisor_deliver(treevisor_heart *heart, int milliseconds);

/* Closes the connection. The heart is silent from then on. */
static inline void treevisor_close(treevisor_heart *heart);

/* ---------------------------------------------------------------------------------------------------------------- */

static inline int64_t treevisor__now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What the kernel does not have of the messages is due again. */
static inline void treevisor__lose(treevisor_heart *heart)
{
    close(heart->fd);
    heart->fd = -1;
    heart->due |= heart->in_flight;
    heart->in_flight = 0;
}

static inline void treevisor__put(treevisor_heart *heart, const void *bytes, size_t count)
{
    memcpy(heart->out + heart->out_len, bytes, count);
    heart->out_len += count;
}

static inline void treevisor__put_frame(treevisor_heart *heart, int flags, const void *bytes, size_t count)
{
    unsigned char head[9] = {0};
    if (count < 256) {
        head[0] = (unsigned char)flags;
        head[1] = (unsigned char)count;
        treevisor__put(heart, head, 2);
    } else {
        head[0] = (unsigned char)(flags | 2);
        head[7] = (unsigned char)(count >> 8);
        head[8] = (unsigned char)count;
        treevisor__put(heart, head, 9);
    }
    treevisor__put(heart, bytes, count);
}

/* The next stage, now that `held` is whole. */
static inline int treevisor__take_held(treevisor_heart *heart)
{
    static const unsigned char null_mechanism[20] = {'N', 'U', 'L', 'L'};
    const unsigned char *held = heart->held;
    size_t name, at;
    uint64_t len = 0;
    switch (heart->stage) {
    case TREEVISOR__IN_GREETING:
        if (held[0] != 0xff || !(held[9] & 1) || held[10] < 3 || memcmp(held + 12, null_mechanism, 20) != 0)
            return -1;
        heart->stage = TREEVISOR__IN_HEAD;
        break;
    case TREEVISOR__IN_HEAD:
        if (held[0] & ~7)
            return -1;
        for (at = 1; at < heart->held_len; at++)
            len = len << 8 | held[at];
        if ((held[0] & 4) && len >= 1 && len <= TREEVISOR__HELD_MAX) {
            heart->stage = TREEVISOR__IN_COMMAND;
            heart->command_len = (size_t)len;
        } else {
            heart->skip = len;
        }
        break;
    default:
        name = held[0];
        if (name == 5 && heart->command_len >= 6 && memcmp(held + 1, "READY", 5) == 0) {
            heart->is_ready = 1;
        } else if (name == 5 && heart->command_len >= 6 && memcmp(held + 1, "ERROR", 5) == 0) {
            return -1;
        } else if (name == 4 && heart->command_len >= 7 && memcmp(held + 1, "PING", 4) == 0) {
            /* Two bytes of time to live, then up to 16 of context, which go back. A peer that does not read needs no
             * answers. */
            unsigned char pong[21] = {4, 'P', 'O', 'N', 'G'};
            size_t context = heart->command_len - 7 < 16 ? heart->command_len - 7 : 16;
            memcpy(pong + 5, held + 7, context);
            if (heart->out_len - heart->out_sent <= 256 && heart->out_len <= 512)
                treevisor__put_frame(heart, 4, pong, 5 + context);
        }
        heart->stage = TREEVISOR__IN_HEAD;
    }
    return 0;
}

static inline size_t treevisor__wanted(const treevisor_heart *heart)
{
    switch (heart->stage) {
    case TREEVISOR__IN_GREETING: return TREEVISOR__GREETING_LEN;
    case TREEVISOR__IN_HEAD: return heart->held_len > 0 && (heart->held[0] & 2) ? 9 : 2;
    default: return heart->command_len;
    }
}

static inline int treevisor__feed(treevisor_heart *heart, const unsigned char *bytes, size_t count)
{
    for (;;) {
        size_t taken = heart->skip < count ? (size_t)heart->skip : count;
        heart->skip -= taken;
        bytes += taken;
        count -= taken;
        if (heart->skip > 0)
            return 0;
        taken = treevisor__wanted(heart) - heart->held_len;
        taken = taken < count ? taken : count;
        memcpy(heart->held + heart->held_len, bytes, taken);
        heart->held_len += taken;
        bytes += taken;
        count -= taken;
        /* Asked again, because the first byte of a head gives its length. */
        if (heart->held_len < treevisor__wanted(heart)) {
            if (count == 0)
                return 0;
            continue;
        }
        if (treevisor__take_held(heart) < 0)
            return -1;
        heart->held_len = 0;
    }
}

/* Reads what is there, up to a bound. Below 0, the connection is over: TREEVISOR__CLOSED at its end, -1 after an error,
 * such as ECONNRESET where the other side has left something unread. */
static inline int treevisor__read(treevisor_heart *heart)
{
    unsigned char buffer[1024];
    int turn;
    for (turn = 0; turn < TREEVISOR__READS_MAX; turn++) {
        ssize_t count = recv(heart->fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (count == 0)
            return TREEVISOR__CLOSED;
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
        if (treevisor__feed(heart, buffer, (size_t)count) < 0)
            return -1;
    }
    return 0;
}

/* Writes what the kernel takes. 1: it has all; 0: not yet; -1: the connection is over. */
static inline int treevisor__flush(treevisor_heart *heart)
{
    while (heart->out_sent < heart->out_len) {
        ssize_t count = send(heart->fd, heart->out + heart->out_sent, heart->out_len - heart->out_sent,
                             MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count >= 0)
            heart->out_sent += (size_t)count;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        else if (errno != EINTR)
            return -1;
    }
    heart->out_sent = heart->out_len = 0;
    heart->in_flight = 0;
    return 1;
}

/* Waits until there is something to read. */
static inline void treevisor__await(const treevisor_heart *heart, int64_t milliseconds)
{
    struct pollfd input;
    input.fd = heart->fd;
    input.events = POLLIN;
    input.revents = 0;
    poll(&input, 1, milliseconds < 0 ? 0 : (int)milliseconds);
}

/* Connects at once or not at all, and puts greeting and READY at the head of what is written. */
static inline int treevisor__connect(treevisor_heart *heart, int64_t now)
{
    static const unsigned char greeting[TREEVISOR__GREETING_LEN] = {
        0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    static const char ready[] = "\x05READY\x0bSocket-Type\0\0\0\x06" "DEALER\x08Identity\0\0\0\0";
    if (heart->last_connect != TREEVISOR__NEVER && now - heart->last_connect < TREEVISOR__RECONNECT_GAP_MS)
        return -1;
    heart->last_connect = now;
    /* Born non-blocking: even connect() waits while the listener's backlog is full. */
    heart->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (heart->fd < 0)
        return -1;
    if (connect(heart->fd, (const struct sockaddr *)&heart->address, sizeof heart->address) < 0) {
        treevisor__lose(heart);
        return -1;
    }
    heart->out_sent = heart->out_len = 0;
    heart->held_len = 0;
    heart->skip = 0;
    heart->stage = TREEVISOR__IN_GREETING;
    heart->is_ready = heart->waited = 0;
    heart->entrusted = 0;
    treevisor__put(heart, greeting, sizeof greeting);
    treevisor__put_frame(heart, 4, ready, sizeof ready - 1);
    /* This may be another supervisor than the one that received it. */
    heart->due |= heart->said;
    return 0;
}

static inline void treevisor__put_number(treevisor_heart *heart, int said, uint64_t number)
{
    char digits[24];
    int count = said ? snprintf(digits, sizeof digits, "%llu", (unsigned long long)number) : 0;
    treevisor__put_frame(heart, 1, digits, (size_t)count);
}

/* Puts one message behind what is to be written; at most one of each kind is ever there, so there is room. */
static inline void treevisor__put_message(treevisor_heart *heart, unsigned message, int64_t now)
{
    const char *kind = message == TREEVISOR__READY ? "READY" : message == TREEVISOR__BEAT ? "BEAT" : "STOPPING";
    treevisor__put_frame(heart, 1, "TV1", 3);
    treevisor__put_frame(heart, 1, kind, strlen(kind));
    treevisor__put_frame(heart, message == TREEVISOR__BEAT, heart->token, sizeof heart->token);
    if (message == TREEVISOR__BEAT) {
        heart->held_back = 0;
        heart->seq++;
        heart->leased_until = heart->lease_ms > 0 ? now + heart->lease_ms : (int64_t)TREEVISOR__NEVER;
        treevisor__put_number(heart, heart->counts, heart->seq);
        treevisor__put_number(heart, heart->has_progress, heart->progress);
        treevisor__put_number(heart, heart->has_pending, heart->pending);
        treevisor__put_number(heart, heart->lease_ms > 0, (uint64_t)heart->lease_ms);
        treevisor__put_frame(heart, 0, heart->status, heart->status_len);
    }
}

/* Brings all that is due as far as it goes without waiting. 1: the kernel has all of it. */
static inline int treevisor__transmit(treevisor_heart *heart, int64_t now)
{
    unsigned message;
    int flushed;
    if (heart->fd >= 0) {
        flushed = treevisor__read(heart) < 0 ? -1 : treevisor__flush(heart);
        if (flushed < 0)
            treevisor__lose(heart);
        else if (flushed == 0)
            return 0; /* The supervisor has not read what it has. A queue of old beats would be of no use to it. */
    }
    if (!heart->due)
        return heart->fd >= 0;
    if (heart->fd < 0) {
        if (treevisor__connect(heart, now) < 0)
            return 0;
        if (treevisor__flush(heart) < 0) {
            treevisor__lose(heart);
            return 0;
        }
    }
    if (!heart->is_ready && !heart->waited) {
        int64_t until = now + TREEVISOR_HANDSHAKE_WAIT_MS, left;
        heart->waited = 1;
        while (!heart->is_ready && (left = until - treevisor__now()) > 0) {
            treevisor__await(heart, left);
            if (treevisor__read(heart) < 0) {
                treevisor__lose(heart);
                return 0;
            }
        }
    }
    if (!heart->is_ready)
        return 0;
    for (message = TREEVISOR__READY; message <= TREEVISOR__STOPPING; message <<= 1)
        if (heart->due & message)
            treevisor__put_message(heart, message, now);
    heart->entrusted |= heart->due;
    heart->in_flight = heart->due;
    heart->due = 0;
    flushed = treevisor__flush(heart);
    if (flushed < 0)
        treevisor__lose(heart);
    return flushed > 0;
}

/* Whether a beat is worth a frame now. */
static inline int treevisor__is_time(const treevisor_heart *heart, int64_t now)
{
    int64_t since = now - heart->last_beat;
    int64_t gap = (heart->interval_ms > 0 ? heart->interval_ms : (int64_t)TREEVISOR__INTERVAL_ASSUMED_MS) / 4;
    if (heart->last_beat == TREEVISOR__NEVER)
        return 1;
    if (gap < TREEVISOR__BEAT_GAP_MIN_MS)
        gap = TREEVISOR__BEAT_GAP_MIN_MS;
    /* After a beat that was dropped the next call may try again, but not each of a thousand calls. */
    if ((heart->due & TREEVISOR__BEAT) && gap > TREEVISOR__RECONNECT_GAP_MS)
        gap = TREEVISOR__RECONNECT_GAP_MS;
    /* A lease is sent at once, unless the one that stands does nearly as well; its end sooner than other news. */
    if (heart->lease_ms > 0 && heart->leased_until != TREEVISOR__NEVER)
        return heart->leased_until + gap < now + heart->lease_ms || since >= gap;
    if (heart->lease_ms > 0)
        return 1;
    if (heart->leased_until != TREEVISOR__NEVER && gap > TREEVISOR__LEASE_END_GAP_MS)
        gap = TREEVISOR__LEASE_END_GAP_MS;
    return since >= gap;
}

static inline int treevisor__is_mine(const treevisor_heart *heart)
{
    return heart->supervised && heart->owner == getpid();
}

static inline void treevisor__say(treevisor_heart *heart, unsigned message)
{
    int saved = errno;
    if (treevisor__is_mine(heart)) {
        heart->said |= message;
        heart->due |= message;
        treevisor__transmit(heart, treevisor__now());
    }
    errno = saved;
}

/* The process in which the first heart was opened; forked children inherit it. */
static inline pid_t treevisor__first_process(void)
{
    static pid_t first;
    if (first == 0)
        first = getpid();
    return first;
}

static inline treevisor_heart treevisor_open(void)
{
    treevisor_heart heart;
    const char *endpoint = getenv("TREEVISOR_ENDPOINT");
    const char *token = getenv("TREEVISOR_TOKEN");
    const char *interval = getenv("TREEVISOR_HEARTBEAT_MS");
    int saved = errno;
    memset(&heart, 0, sizeof heart);
    heart.fd = -1;
    heart.last_beat = heart.last_connect = heart.leased_until = TREEVISOR__NEVER;
    heart.owner = getpid();
    heart.counts = treevisor__first_process() == heart.owner;
    /* A name in the abstract namespace (@) is refused: any process could bind it. */
    if (!endpoint || strncmp(endpoint, "ipc://", 6) != 0 || endpoint[6] == '\0' || endpoint[6] == '@' ||
        strlen(endpoint + 6) >= sizeof heart.address.sun_path)
        return heart;
    if (!token || strlen(token) != TREEVISOR__TOKEN_LEN ||
        strspn(token, "0123456789abcdefABCDEF") != TREEVISOR__TOKEN_LEN)
        return heart;
    heart.supervised = 1;
    heart.address.sun_family = AF_UNIX;
    memcpy(heart.address.sun_path, endpoint + 6, strlen(endpoint + 6));
    memcpy(heart.token, token, TREEVISOR__TOKEN_LEN);
    heart.interval_ms = interval ? strtoll(interval, NULL, 10) : 0;
    if (treevisor__connect(&heart, treevisor__now()) == 0 && treevisor__flush(&heart) < 0)
        treevisor__lose(&heart);
    if (heart.fd < 0)
        heart.last_connect = TREEVISOR__NEVER; /* The first beat need not wait until a second try is allowed. */
    errno = saved;
    return heart;
}

static inline void treevisor_beat(treevisor_heart *heart)
{
    int saved = errno;
    int64_t now;
    if (!treevisor__is_mine(heart))
        return;
    now = treevisor__now();
    heart->held_back = 1;
    heart->lease_ms = heart->next_lease_ms;
    heart->next_lease_ms = 0;
    if (treevisor__is_time(heart, now)) {
        heart->last_beat = now;
        heart->due |= TREEVISOR__BEAT;
        if (!treevisor__transmit(heart, now))
            heart->dropped++;
    }
    errno = saved;
}

static inline void treevisor_progress(treevisor_heart *heart, uint64_t done)
{
    heart->has_progress = 1;
    heart->progress = done;
}

static inline void treevisor_pending(treevisor_heart *heart, uint64_t waiting)
{
    heart->has_pending = 1;
    heart->pending = waiting;
}

/* The length of the character at `text` if that is well-formed UTF-8, else 0. */
static inline size_t treevisor__character(const unsigned char *text)
{
    size_t len = text[0] < 0x80 ? 1 : text[0] >= 0xc2 && text[0] < 0xe0 ? 2 : (text[0] & 0xf0) == 0xe0 ? 3
                 : text[0] >= 0xf0 && text[0] <= 0xf4 ? 4 : 0;
    size_t at;
    for (at = 1; at < len; at++) /* Ends at the zero at the end of the text. */
        if ((text[at] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return len;
}

static inline void treevisor_status(treevisor_heart *heart, const char *text)
{
    /* A supervisor drops a beat whose text is no UTF-8, and the beat matters more than the text. */
    const unsigned char *from = (const unsigned char *)(text ? text : "");
    heart->status_len = 0;
    while (*from) {
        size_t len = treevisor__character(from), kept = len ? len : 1;
        if (heart->status_len + kept > TREEVISOR__STATUS_MAX)
            break;
        if (len == 0)
            heart->status[heart->status_len] = '?';
        else if (*from < 0x20 || *from == 0x7f)
            heart->status[heart->status_len] = ' ';
        else
            memcpy(heart->status + heart->status_len, from, len);
        heart->status_len += kept;
        from += kept;
    }
}

static inline void treevisor_busy_for(treevisor_heart *heart, uint64_t milliseconds)
{
    const uint64_t year = (uint64_t)365 * 86400 * 1000; /* So that sums of times stay within their bounds. */
    heart->next_lease_ms = (int64_t)(milliseconds < year ? milliseconds : year);
}

static inline void treevisor_ready(treevisor_heart *heart)
{
    treevisor__say(heart, TREEVISOR__READY);
}

static inline void treevisor_stopping(treevisor_heart *heart)
{
    treevisor__say(heart, TREEVISOR__STOPPING);
}

static inline void treevisor_uncounted(treevisor_heart *heart)
{
    heart->counts = 0;
}

static inline int treevisor_deliver(treevisor_heart *heart, int milliseconds)
{
    int saved = errno, taken = 0, over;
    int64_t until;
    if (!treevisor__is_mine(heart))
        return 1;
    until = treevisor__now() + milliseconds;
    if (heart->held_back)
        heart->due |= TREEVISOR__BEAT;
    while ((heart->due || heart->in_flight) && !treevisor__transmit(heart, treevisor__now())) {
        int64_t left = until - treevisor__now();
        if (left <= 0)
            goto done;
        if (heart->fd >= 0 && !heart->is_ready)
            treevisor__await(heart, left);
        else /* For room in the supervisor's backlog or buffer, it looks again every 5 ms. */
            poll(NULL, 0, left < 5 ? (int)left : 5);
    }
    if (heart->fd >= 0) {
        /* Behind all that was written comes our end; the supervisor closes its own side when it has come to that. */
        shutdown(heart->fd, SHUT_WR);
        while ((over = treevisor__read(heart)) == 0) {
            int64_t left = until - treevisor__now();
            if (left <= 0)
                break;
            treevisor__await(heart, left);
        }
        if (over != TREEVISOR__CLOSED)
            heart->in_flight |= heart->entrusted; /* Any of it may come twice. */
        treevisor__lose(heart);
        if (over != TREEVISOR__CLOSED)
            goto done;
        heart->last_connect = TREEVISOR__NEVER;
    }
    taken = 1;
done:
    errno = saved;
    return taken;
}

static inline void treevisor_close(treevisor_heart *heart)
{
    /* A forked child closes its copy of the descriptor, which its parent does not notice. */
    if (heart->supervised && heart->fd >= 0)
        close(heart->fd);
    heart->fd = -1;
    heart->supervised = 0;
}

#endif
