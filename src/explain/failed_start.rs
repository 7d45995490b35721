//! What a failed start means, by the step that has failed and by its errno.

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const E2BIG: i32 = 7;
const ENOEXEC: i32 = 8;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const ENOTDIR: i32 = 20;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const ETXTBSY: i32 = 26;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;

/// What the failure of this step means, or what mends it. The steps are those of a `start_failed` event.
pub(super) fn meaning(step: &str, errno: i32) -> Option<&'static str> {
    match step {
        "looking for" | "executing" => of_program(errno),
        "changing to the working directory" => of_directory(errno),
        "opening the standard input" => of_input(errno),
        "listen" => of_socket(errno),
        // Linux refuses these to an ordinary user with EPERM or EACCES.
        _ if matches!(errno, EPERM | EACCES) => of_privilege(step),
        _ => None,
    }
    .or_else(|| of_resources(errno))
}

fn of_program(errno: i32) -> Option<&'static str> {
    Some(match errno {
        ENOENT => {
            "the program, or the interpreter in its first line, is not there: a command without a slash is looked up in \
             PATH, another one from `cwd`, or else from where the tree was started"
        }
        E2BIG => "arguments and environment together are too long",
        ENOEXEC => "the file is no program: a script needs a first line such as #!/bin/sh",
        EACCES => "the file may not be executed by this user, or one of the directories above it may not be entered",
        ENOTDIR => "a part of the path is no directory",
        ETXTBSY => "the program is just being written to",
        _ => return None,
    })
}

fn of_directory(errno: i32) -> Option<&'static str> {
    Some(match errno {
        ENOENT => "the directory in `cwd` is not there",
        EACCES => "the directory in `cwd`, or one above it, may not be entered by this user",
        ENOTDIR => "`cwd`, or a part of its path, is no directory",
        _ => return None,
    })
}

fn of_input(errno: i32) -> Option<&'static str> {
    Some(match errno {
        ENOENT => "the file in `stdin` is not there",
        EACCES => {
            "the file in `stdin` may not be read by this user, or one of the directories above it may not be entered"
        }
        ENOTDIR => "a part of the path in `stdin` is no directory",
        _ => return None,
    })
}

fn of_socket(errno: i32) -> Option<&'static str> {
    Some(match errno {
        ENOENT => "the directory of a socket in `listen` is not there",
        EACCES => {
            "a port below 1024 needs root or CAP_NET_BIND_SERVICE; a unix socket needs a directory that treevisor may \
             write to"
        }
        EADDRINUSE => "another program has this address: `ss -lxtnp` shows which",
        EADDRNOTAVAIL => "no network interface of this machine has this address",
        _ => return None,
    })
}

fn of_privilege(step: &str) -> Option<&'static str> {
    Some(match step {
        "setting the oom-score-adjust of" => {
            "a lower oom-score-adjust than treevisor's own needs root or CAP_SYS_RESOURCE"
        }
        "setting the nice value of" => {
            "a lower nice value than treevisor's own needs root, CAP_SYS_NICE, or a limit (`ulimit -e`)"
        }
        "setting the limits of" => "a limit above treevisor's own hard limit needs root or CAP_SYS_RESOURCE",
        "setting the user of" | "setting the groups of" => {
            "another user or group than treevisor's own needs root, or CAP_SETUID and CAP_SETGID"
        }
        _ => return None,
    })
}

/// What any step may lack.
fn of_resources(errno: i32) -> Option<&'static str> {
    Some(match errno {
        EAGAIN => "no more processes may be made: a limit (`ulimit -u`, `pids.max`) is reached",
        ENOMEM => "the machine had no memory left for it",
        ENFILE | EMFILE => "no more files may be open: raise the limit (`ulimit -n`)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_means_what_it_means_in_its_step() {
        for (step, errno, part) in [
            ("executing", ENOENT, "looked up in PATH"),
            ("looking for", ENOENT, "looked up in PATH"),
            ("looking for", EACCES, "executed"),
            ("changing to the working directory", ENOENT, "directory in `cwd` is not there"),
            ("changing to the working directory", EACCES, "entered by this user"),
            ("opening the standard input", ENOENT, "file in `stdin` is not there"),
            ("listen", EACCES, "port below 1024"),
            ("setting the nice value of", EACCES, "CAP_SYS_NICE"),
            ("setting the user of", EPERM, "CAP_SETUID"),
            ("executing", EAGAIN, "ulimit -u"),
            ("making a process for", EMFILE, "ulimit -n"),
        ] {
            let meaning = meaning(step, errno);
            assert!(meaning.is_some_and(|text| text.contains(part)), "{step} {errno}: {meaning:?}");
        }
        // Nothing is said rather than what is true of a program alone.
        for step in ["making its cgroup", "entering the cgroup of", "making a process for", "making a session for"] {
            assert_eq!(meaning(step, ENOENT).or(meaning(step, EACCES)), None, "{step}");
        }
    }
}
