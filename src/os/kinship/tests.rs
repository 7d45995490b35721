use super::super::pidfd::PidFd;
use super::super::testing::{end_of, read_line, script, start, start_piped};
use super::*;

alone! {
    fn without_descriptors_no_running_process_is_taken_for_gone() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let [worker, other, ended] = ["exec sleep 1000", "exec sleep 1000", "exit 0"].map(|text| start(script(text)).unwrap());
        end_of(&ended.pidfd);
        let family = Family { leader: worker.pid, main: worker.pid, group: None };
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
        let is = |pid| kinship(pid, &family, |_| true);
        assert_eq!([worker.pid, other.pid, ended.pid].map(is), [Kinship::Own, Kinship::Stranger, Kinship::Gone]);
        for process in [&worker, &other] {
            process.pidfd.signal(libc::SIGKILL).unwrap();
            end_of(&process.pidfd);
        }
    }

    fn kinship_is_by_session_and_descent_and_never_by_the_environment() {
        super::super::descendants::become_subreaper().unwrap();
        // A process in the session; one outside of it but below; and one outside of both, which this process adopts.
        let text = "echo $$; sh -c 'echo $$; exec sleep 1000' & setsid env -i sh -c 'echo $$; exec sleep 1000' & \
                    (setsid sh -c 'echo $$; exec sleep 1000' &) ; exec sleep 1000";
        let (leader, reader) = start_piped(script(text)).unwrap();
        let mut numbers: Vec<u32> = (0..4).map(|_| read_line(&reader).parse().unwrap()).collect();
        let (sibling, reader) = start_piped(script("echo $$; setsid sh -c 'echo $$; exec sleep 1000' & exec sleep 1000")).unwrap();
        let below: Vec<u32> = (0..2).map(|_| read_line(&reader).parse().unwrap()).collect();
        let family = Family { leader: leader.pid, main: leader.pid, group: None };
        let known = |pid| pid == leader.pid || pid == sibling.pid;
        let is = |pid| kinship(pid, &family, known);
        let adopted: Vec<u32> = numbers.extract_if(.., |pid| is(*pid) == Kinship::Adopted).collect();
        assert_eq!(adopted.len(), 1, "the daemon alone");
        for pid in numbers.iter().chain([&leader.pid]) {
            assert_eq!(is(*pid), Kinship::Own, "{pid} of {numbers:?}");
        }
        for pid in below.iter().chain([&sibling.pid]) {
            assert_eq!(is(*pid), Kinship::Stranger, "{pid} of {below:?}");
        }
        assert_eq!(is(std::process::id()), Kinship::Stranger);
        assert_eq!(is(1), Kinship::Stranger);
        assert_eq!(is(0), Kinship::Stranger);
        assert_eq!(is(u32::MAX), Kinship::Stranger);
        let ended = start(script("exit 0")).unwrap();
        end_of(&ended.pidfd);
        assert_eq!(is(ended.pid), Kinship::Gone);
        for pid in numbers.into_iter().chain(adopted).chain(below) {
            PidFd::open(pid).unwrap().signal(libc::SIGKILL).unwrap();
        }
        end_of(&leader.pidfd);
        end_of(&sibling.pidfd);
    }
}

#[test]
fn only_a_process_that_is_not_there_is_gone() {
    use nix::errno::Errno;
    assert_eq!([Ok(7), Err(Errno::ESRCH)].map(|found| by_session(found, 7)), [Some(Kinship::Own), Some(Kinship::Gone)]);
    for found in [Ok(8), Err(Errno::EPERM), Err(Errno::ENOSYS), Err(Errno::EACCES), Err(Errno::ENOMEM)] {
        assert_eq!(by_session(found, 7), None, "{found:?}");
    }
}
