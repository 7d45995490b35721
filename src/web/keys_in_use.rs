//! The keys and sessions that requests are checked against: the content of the file, as last read or written.

use super::keys::{Access, Keys, Secret};
use super::store::{Stamp, Store, now_ms};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keys and sessions in use, shared by all threads.
pub(super) struct KeysInUse {
    content: Mutex<Content>,
    /// Held from reading or changing the file until its content is in use, so that no older content replaces a newer.
    /// It has the file's stamp of before [`KeysInUse::refresh`] has read it last.
    order: Mutex<Option<Stamp>>,
}

enum Content {
    /// The file has not been read yet.
    Unread,
    /// As last read; `None` if there is no file, or none that can be used.
    Read(Option<Keys>),
}

impl KeysInUse {
    /// None, until a file is read.
    pub(super) fn new() -> KeysInUse {
        KeysInUse { content: Mutex::new(Content::Unread), order: Mutex::new(None) }
    }

    /// Uses the keys and sessions that `file` returns, having read or changed the file. Blocks on the file.
    ///
    /// # Errors
    /// That of `file`; then what was in use stays.
    pub(super) fn take<T>(&self, file: impl FnOnce() -> io::Result<(T, Option<Keys>)>) -> io::Result<T> {
        // A poisoned lock is used all the same: no content is ever left half done.
        let _order = self.order();
        let (done, keys) = file()?;
        *self.content() = Content::Read(keys);
        Ok(done)
    }

    /// Uses the present content of the file, which another process may have changed; does nothing if the file is the
    /// same as at the last call. If it cannot be read, no key and no session is accepted. Blocks on the file.
    ///
    /// # Errors
    /// As [`Store::read`], once for each change of the file.
    pub(super) fn refresh(&self, store: &Store) -> io::Result<()> {
        let mut stamp = self.order();
        let now = store.stamp();
        if *stamp == now {
            return Ok(());
        }
        *stamp = now;
        let read = store.read();
        let (keys, done) = read.map_or_else(|error| (None, Err(error)), |keys| (keys, Ok(())));
        *self.content() = Content::Read(keys);
        done
    }

    /// Changes keys and sessions, in the file and here. Blocks on the file.
    ///
    /// # Errors
    /// As [`Store::change`].
    pub(super) fn change<T>(&self, store: &Store, change: impl FnOnce(&mut Keys) -> T) -> io::Result<T> {
        self.take(|| store.change(change).map(|(done, keys)| (done, Some(keys))))
    }

    /// Whether the file has been read. Before that, a session that is not known here may be valid.
    pub(super) fn are_read(&self) -> bool {
        !matches!(*self.content(), Content::Unread)
    }

    /// The permission of a key.
    pub(super) fn bearer(&self, key: &Secret) -> Option<Access> {
        self.look(|keys| keys.bearer(key))
    }

    /// The permission of a session that has not ended.
    pub(super) fn session(&self, token: &Secret) -> Option<Access> {
        self.look(|keys| keys.session(token, now_ms()))
    }

    /// Whether a login with this key would succeed.
    pub(super) fn opens(&self, key: &Secret) -> bool {
        self.look(|keys| keys.opens(key, now_ms()).then_some(())).is_some()
    }

    /// Whether a session was opened without a key, for a user that the kernel reports.
    pub(super) fn is_by_kernel(&self, token: &Secret) -> bool {
        self.look(|keys| keys.is_by_kernel(token, now_ms()).then_some(())).is_some()
    }

    /// Whether `csrf` is the value of the session's own page. Other pages, and programs that see the cookie, do not
    /// have it.
    pub(super) fn is_page_of(&self, token: &Secret, csrf: &Secret) -> bool {
        self.look(|keys| keys.is_page_of(token, csrf, now_ms()).then_some(())).is_some()
    }

    fn order(&self) -> MutexGuard<'_, Option<Stamp>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T>(&self, look: impl FnOnce(&Keys) -> Option<T>) -> Option<T> {
        match &*self.content() {
            Content::Unread => None,
            Content::Read(keys) => look(keys.as_ref()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;
    use crate::time::Span;
    use std::sync::mpsc;
    use std::thread;

    fn open(keys: &mut Keys, token: &Secret) {
        keys.open_session(token, &Secret::of([7; 32]), Access::Act, now_ms());
    }

    #[test]
    fn nothing_is_known_before_the_file_is_read() {
        let ((_base, store), token) = (Store::in_test(), Secret::of([1; 32]));
        store.change(|keys| open(keys, &token)).unwrap();
        let keys = KeysInUse::new();
        assert_eq!((keys.are_read(), keys.session(&token)), (false, None));
        keys.take(|| Ok(((), store.read()?))).unwrap();
        assert_eq!((keys.are_read(), keys.session(&token)), (true, Some(Access::Act)));
        keys.take(|| Err::<((), _), _>(io::ErrorKind::TimedOut.into())).unwrap_err();
        assert_eq!(keys.session(&token), Some(Access::Act), "what was in use stays");
        keys.take(|| Ok(((), None))).unwrap();
        assert_eq!((keys.are_read(), keys.session(&token)), (true, None));
    }

    #[test]
    fn what_another_process_changes_is_taken_once_and_from_the_beginning() {
        let ((_base, store), token) = (Store::in_test(), Secret::of([1; 32]));
        let keys = KeysInUse::new();
        keys.refresh(&store).unwrap();
        assert!(!keys.are_read(), "there is no file yet");
        keys.change(&store, |keys| open(keys, &token)).unwrap();
        // New keys, before the file was looked at for the first time.
        let (view, _) = store.renew().unwrap();
        keys.refresh(&store).unwrap();
        assert_eq!((keys.session(&token), keys.bearer(&view)), (None, Some(Access::View)));
        let (link, _) = store.login_key(Access::Act).unwrap();
        assert!(!keys.opens(&link));
        keys.refresh(&store).unwrap();
        assert!(keys.opens(&link) && keys.opens(&view) && !keys.opens(&token));
        store.set_mode(0o640);
        assert_eq!(keys.refresh(&store).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        keys.refresh(&store).unwrap();
        assert!(keys.are_read() && !keys.opens(&link) && keys.bearer(&view).is_none());
        store.set_mode(0o600);
        keys.refresh(&store).unwrap();
        assert!(keys.opens(&link));
    }

    #[test]
    fn a_file_that_was_read_before_a_login_does_not_end_its_session() {
        let ((_base, store), token) = (Store::in_test(), Secret::of([1; 32]));
        let keys = KeysInUse::new();
        let (begun, begins) = mpsc::channel();
        thread::scope(|scope| {
            let login = || {
                begun.send(()).unwrap();
                keys.change(&store, |keys| open(keys, &token)).unwrap();
            };
            let read = || {
                let old = store.read()?;
                let login = scope.spawn(login);
                begins.recv().unwrap();
                // As long as the older content is not in use, the login has to wait.
                clock::pause(Span::from_millis(20));
                assert!(!login.is_finished());
                Ok(((), old))
            };
            keys.take(read).unwrap();
        });
        assert_eq!(keys.session(&token), Some(Access::Act));
    }
}
