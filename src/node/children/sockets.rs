//! Listening sockets that this node holds for its workers. Each is opened once, stays open while workers come and go,
//! and is closed when no spec has it any more. There is one for each address.

use crate::os::listener::{ListenError, Listener};
use crate::spec::listen::Listen;
use std::os::fd::{AsFd, BorrowedFd};

#[derive(Default)]
pub(super) struct Sockets(pub(super) Vec<Held>);

pub(super) struct Held {
    pub(super) listen: Listen,
    pub(super) listener: Listener,
    /// The change that could not be made, and why. It is tried again whenever the sockets are settled.
    pub(super) refused: Option<(Listen, String)>,
}

impl Held {
    /// An open socket with these settings.
    pub(super) fn new(listen: Listen, listener: Listener) -> Held {
        Held { listen, listener, refused: None }
    }

    /// Gives the socket the settings of `wanted`. Returns why that failed, unless the same was returned before.
    fn change(&mut self, wanted: &Listen) -> Option<ListenError> {
        if self.refused.is_none() && self.listen == *wanted {
            return None;
        }
        let Err(error) = self.listener.adjust(wanted) else {
            (self.listen, self.refused) = (wanted.clone(), None);
            return None;
        };
        let refused = Some((wanted.clone(), error.to_string()));
        (std::mem::replace(&mut self.refused, refused.clone()) != refused).then_some(error)
    }
}

impl Sockets {
    /// Whether no socket is open.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, wanted: &Listen) -> Option<&Held> {
        self.0.iter().find(|held| held.listen.address == wanted.address)
    }

    /// Opens the sockets of `wanted` that are not open yet, and returns all of `wanted`, in this order.
    pub(super) fn open(&mut self, wanted: &[Listen]) -> Result<Vec<BorrowedFd<'_>>, ListenError> {
        for listen in wanted {
            if self.find(listen).is_none() {
                let listener = Listener::open(listen)?;
                self.0.push(Held::new(listen.clone(), listener));
            }
        }
        Ok(wanted.iter().filter_map(|listen| self.find(listen)).map(|held| held.listener.as_fd()).collect())
    }

    /// Closes the sockets that are not in `wanted`, and adjusts the others where that is possible. Returns what failed,
    /// once for each change and reason.
    pub(super) fn keep(&mut self, wanted: &[Listen]) -> Vec<ListenError> {
        let mut failed = Vec::new();
        self.0.retain_mut(|held| {
            let Some(listen) = wanted.iter().find(|listen| listen.address == held.listen.address) else { return false };
            failed.extend(held.change(listen));
            true
        });
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing;
    use crate::os::disk;
    use crate::spec::listen::Address;
    use crate::supervision::ChildId;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    #[test]
    fn sockets_follow_the_specs_and_one_that_stays_is_never_closed() {
        let dir = tempfile::tempdir().unwrap();
        let context = testing::context();
        let at = |name: &str| dir.path().join(name);
        let tree = |a: &str, b: &str| {
            let listen = |name: &str| format!("listen = \"unix:{}\"", at(name).display());
            format!(
                "child = [{{ name = \"a\", command = \"a\", {} }}, {{ name = \"b\", command = \"b\", {} }}]",
                listen(a),
                listen(b)
            )
        };
        let open = |name: &str| UnixStream::connect(at(name)).is_ok();
        let mut children = testing::children(&tree("one", "one"), &context);
        assert!(children.open_sockets().is_empty() && open("one"));
        let waiting = UnixStream::connect(at("one")).unwrap();

        let specs = testing::tree(&tree("one", "two")).root.children;
        for (id, spec) in (0..).map(ChildId).zip(specs) {
            children.get_mut(id).unwrap().take_over(spec, &context.place.files);
        }
        children.settle_sockets(&context.logger);
        assert!(open("one") && open("two"));
        assert!(waiting.take_error().unwrap().is_none());

        children.remove(ChildId(0));
        children.settle_sockets(&context.logger);
        assert!(!at("one").exists() && open("two"));
        drop(children);
        assert!(!at("two").exists());
    }

    #[test]
    fn a_worker_that_runs_keeps_its_socket_until_it_has_its_new_spec() {
        let dir = tempfile::tempdir().unwrap();
        let context = testing::context();
        let at = |name: &str| dir.path().join(name);
        let tree = |name: &str| {
            format!("child = [{{ name = \"a\", command = \"a\", listen = \"unix:{}\" }}]", at(name).display())
        };
        let mut children = testing::children(&tree("old"), &context);
        assert!(children.open_sockets().is_empty());
        let run = crate::supervision::Run { child: ChildId(0), incarnation: crate::ids::Incarnation::FIRST };
        children.start_in_test(run, &context);
        let spec = testing::tree(&tree("new")).root.children.remove(0);
        children.get_mut(ChildId(0)).unwrap().take_over(spec, &context.place.files);
        children.settle_sockets(&context.logger);
        assert!(at("old").exists() && at("new").exists(), "the new one is open before the old one is closed");

        let child = children.get_mut(ChildId(0)).unwrap();
        child.process = None;
        assert!(child.renew(&context.place.files));
        children.settle_sockets(&context.logger);
        assert!(!at("old").exists() && at("new").exists());
    }

    #[test]
    fn a_change_that_fails_is_told_once_and_tried_until_it_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one");
        let wide = Listen { mode: Some(0o666), ..Listen::new(Address::Unix(path.clone())) };
        let narrow = Listen { mode: Some(0o600), ..wide.clone() };
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let mut sockets = Sockets::default();
        sockets.open(std::slice::from_ref(&wide)).unwrap();

        let dead = disk::without_answer(dir.path());
        let [error] = &sockets.keep(std::slice::from_ref(&narrow))[..] else { panic!("its directory does not answer") };
        assert_eq!(error.errno, libc::ETIMEDOUT);
        assert!(sockets.keep(std::slice::from_ref(&narrow)).is_empty(), "the same is not told twice");
        drop(dead);
        assert_eq!(mode(), 0o666);
        assert!(sockets.keep(std::slice::from_ref(&narrow)).is_empty());
        assert_eq!(mode(), 0o600);
        // A change that may have been made in part is taken back.
        let dead = disk::without_answer(dir.path());
        assert_eq!(sockets.keep(std::slice::from_ref(&wide)).len(), 1);
        drop(dead);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        assert!(sockets.keep(std::slice::from_ref(&narrow)).is_empty());
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn what_cannot_be_opened_is_told_of_its_worker() {
        let context = testing::context();
        let mut children = testing::children(
            "child = [{ name = \"a\", command = \"a\", listen = \"unix:/dev/null/x\" }, { name = \"b\", command = \"b\" }]",
            &context,
        );
        let failed = children.open_sockets();
        let [(path, error)] = &failed[..] else { panic!("one of them") };
        assert_eq!(path.as_str(), "/a");
        assert!(error.to_string().starts_with("opening unix:/dev/null/x: "), "{error}");
    }
}
