//! The members of a store that the hosts run, as this host has listed them last, kept in a file. The host's own file
//! names only the members at the time when it was written.

use crate::files;
use crate::ids::Name;
use crate::instance::state::{self, StateDir};
use crate::spec::host;
use crate::spec::host::HostFile;
use crate::store::etcd::members::Member;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The largest size of the file in bytes.
const LENGTH_MAX: u64 = 16 << 10;

const NAME: &str = "endpoints";

/// The directory for this host's member of the store.
///
/// # Errors
/// There is no state directory.
pub(super) fn directory() -> Result<PathBuf, String> {
    let base = state::own_base().ok_or("there is no state directory")?;
    let name = Name::parse(host::INSTANCE).expect("it follows the rules for names");
    Ok(StateDir::of(&base, &name).path().join("store"))
}

/// Creates the directory, accessible to its user only.
pub(super) fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// The endpoints of the store in the order of use: this host's own member, the members listed last, those of the host's
/// file.
pub(super) fn endpoints(file: &HostFile) -> Vec<String> {
    let last = file.store.run.and_then(|_| read().ok()).unwrap_or_default();
    in_order(file, last.lines().map(str::to_owned))
}

fn in_order(file: &HostFile, last: impl Iterator<Item = String>) -> Vec<String> {
    let own = file.member().map(|at| at.client());
    let mut all: Vec<String> = Vec::new();
    for one in own.into_iter().chain(last).chain(file.store.endpoints.iter().cloned()) {
        // The file may contain other text: only `https` URLs are endpoints of a store that hosts run.
        if file.store.run.is_none() || one.starts_with("https://") && !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

/// The client URLs of these members, first that of this host's own member, `own`. Learners are left out, as they do not
/// answer clients.
pub(super) fn of_members(own: Option<&str>, members: &[Member]) -> Vec<String> {
    let mut all: Vec<String> =
        members.iter().filter(|member| !member.learner).filter_map(|member| member.clients.first().cloned()).collect();
    all.sort_by_key(|one| Some(one.as_str()) != own);
    all
}

fn read() -> io::Result<String> {
    let path = directory().map_err(io::Error::other)?.join(NAME);
    let text = files::read_open(files::open_itself(&path)?.0, LENGTH_MAX)?;
    String::from_utf8(text).map_err(io::Error::other)
}

/// Writes the endpoints down for the next start.
///
/// # Errors
/// The file cannot be written.
pub(super) fn remember(endpoints: &[String]) -> Result<(), String> {
    let directory = directory()?;
    let write = || {
        create(&directory)?;
        let aside = directory.join("endpoints.new");
        fs::write(&aside, endpoints.iter().map(|one| format!("{one}\n")).collect::<String>())?;
        fs::rename(&aside, directory.join(NAME))
    };
    write().map_err(|error: io::Error| format!("cannot write {}: {error}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::host::{new, read};

    #[test]
    fn the_own_member_is_asked_first_and_none_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("host.toml");
        let store = crate::spec::host::StoreFile {
            endpoints: ["a", "b"].map(|host| format!("https://{host}:2379")).into(),
            run: Some(true),
            ..Default::default()
        };
        fs::write(&path, new::text("shop", "b", Some("b"), &store)).unwrap();
        let file = read(&path, &|_| None).host.unwrap();
        let last = ["https://c:2379", "https://a:2379", "nonsense", "http://d:2379"];
        let all = in_order(&file, last.map(str::to_owned).into_iter());
        assert_eq!(all, ["b", "c", "a"].map(|host| format!("https://{host}:2379")));

        let member = |name: &str, learner| Member {
            clients: vec![format!("https://{name}:2379")],
            learner,
            ..Member::default()
        };
        let members = [member("a", false), Member::default(), member("b", false), member("c", true)];
        assert_eq!(of_members(Some("https://b:2379"), &members), ["https://b:2379", "https://a:2379"]);
        assert_eq!(of_members(None, &members), ["https://a:2379", "https://b:2379"]);
    }
}
