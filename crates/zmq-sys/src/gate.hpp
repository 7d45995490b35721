//  Copied beside libzmq's sources by build.rs. Which peers may connect over ipc, and how much they may send, is decided
//  outside of libzmq: by the functions that `treevisor_zmq_gate` is given. Without them all is as libzmq has it. What both
//  listeners do without descriptors is here too.

#ifndef __TREEVISOR_GATE_HPP_INCLUDED__
#define __TREEVISOR_GATE_HPP_INCLUDED__

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace zmq
{
namespace gate
{
struct hooks_t
{
    //  The number of the gate before the socket at this path, 0 where there is none.
    int (*find) (const char *path_);
    //  Whether this connection may stay. If so, `left` is called before its descriptor is closed.
    int (*admit) (int gate_, int fd_, uint32_t uid_, uint32_t gid_, int32_t pid_);
    void (*left) (int gate_, int fd_);
    //  The most parts and bytes of one message of the peer with this routing id.
    void (*limits) (int gate_, const void *id_, size_t size_, size_t *parts_, size_t *bytes_);
    //  A peer has gone beyond them; its `left` follows in the same thread.
    void (*broken) (int gate_);
};

inline hooks_t &hooks ()
{
    static hooks_t the_hooks = {NULL, NULL, NULL, NULL, NULL};
    return the_hooks;
}

inline int find (const char *path_)
{
    return hooks ().find ? hooks ().find (path_) : 0;
}

inline bool admit (int gate_, int fd_)
{
    struct ucred cred;
    socklen_t size = sizeof (cred);
    if (::getsockopt (fd_, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0)
        return false;
    return hooks ().admit (gate_, fd_, cred.uid, cred.gid, cred.pid) != 0;
}

//  A peer has gone beyond the limits of its gate, if it has one.
inline void exceeded (int gate_)
{
    if (gate_ != 0)
        hooks ().broken (gate_);
}

//  After a failed accept. A listener stays readable while a connection waits for room, so the I/O thread would turn at
//  full speed: it rests a little each time. Its other peers wait so much longer for their messages.
inline void rest_if_full ()
{
    const int cause = errno;
    if (cause == EMFILE || cause == ENFILE || cause == ENOBUFS
        || cause == ENOMEM)
        ::usleep (5000);
    errno = cause;
}

//  Whether a descriptor is one of the last quarter below the limit, 64 at most, which is not given to connections. The
//  kernel gives the lowest free number, so a high one shows that the process is nearly full.
inline bool is_of_reserve (int fd_)
{
    struct rlimit nofile;
    if (::getrlimit (RLIMIT_NOFILE, &nofile) != 0
        || nofile.rlim_cur == RLIM_INFINITY)
        return false;
    const rlim_t quarter = nofile.rlim_cur / 4;
    const rlim_t reserve = quarter < 64 ? quarter : 64;
    return static_cast<rlim_t> (fd_) >= nofile.rlim_cur - reserve;
}
}
}

#endif
