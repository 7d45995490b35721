//! Users and groups. They are looked up when a file is read, by the tool or the root before there is a tree: what
//! answers may be a directory server that is away, and a node waits for nothing.
use crate::spec::account::Account;
use nix::errno::Errno;
use nix::unistd::{Group, User, getgrouplist};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt;
use std::os::fd::BorrowedFd;

#[cfg(test)]
mod tests;

/// The user and groups to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// Those of an account.
    pub fn of(account: &Account) -> Credentials {
        Credentials { uid: account.uid, gid: account.gid, groups: account.groups.clone() }
    }

    /// Gives them what is open: a pipe is opened anew by its owner alone. Where we may not, it stays ours, and is
    /// written to all the same.
    pub(crate) fn own(&self, file: BorrowedFd<'_>) {
        let _ = nix::unistd::fchown(file, Some(self.uid.into()), Some(self.gid.into()));
    }

    /// Whether this process runs as just that: then there is nothing to change. A plain user may not set its groups,
    /// even to what they are.
    pub fn are_ours(&self) -> bool {
        let (Ok(user), Ok(group)) = (nix::unistd::getresuid(), nix::unistd::getresgid()) else { return false };
        let Ok(groups) = nix::unistd::getgroups() else { return false };
        let users = [user.real, user.effective, user.saved].map(nix::unistd::Uid::as_raw);
        let own = [group.real, group.effective, group.saved].map(nix::unistd::Gid::as_raw);
        // Whether the group itself is listed once more among the supplementary ones makes no difference.
        let with_own = |groups: &[u32]| groups.iter().copied().chain([self.gid]).collect::<BTreeSet<_>>();
        let groups: Vec<u32> = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
        users == [self.uid; 3] && own == [self.gid; 3] && with_own(&groups) == with_own(&self.groups)
    }
}

/// To setresuid(2) and its kin the highest number means "as it is", so it names no user. Taken for a user, it would
/// leave a child with all of our rights.
const NOBODY_AT_ALL: u32 = u32::MAX;

/// Why a user or group could not be found.
#[derive(Debug)]
pub struct UserError {
    what: &'static str,
    name: String,
    cause: Option<Errno>,
}

impl UserError {
    /// Which of both it is about: "user" or "group".
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Whether it is certain that there is none, rather than that it could not be found out.
    pub fn is_certain(&self) -> bool {
        self.cause.is_none()
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            None => write!(f, "there is no {} \"{}\"", self.what, self.name),
            Some(cause) => write!(f, "cannot look up the {} \"{}\": {}", self.what, self.name, cause.desc()),
        }
    }
}

impl std::error::Error for UserError {}

/// Finds a user and a group, by name or number. The group is the user's own unless another one is named.
///
/// # Errors
/// When there is no such user or group.
pub fn resolve(user: Option<&str>, group: Option<&str>) -> Result<Option<Account>, UserError> {
    let named_group = group.map(find_group).transpose()?;
    let nameless = |uid, gid| Account { uid, gid, groups: vec![gid], name: None, home: None, shell: None };
    let Some(user) = user else {
        return Ok(named_group.map(|gid| nameless(nix::unistd::geteuid().as_raw(), gid)));
    };
    let wrong = |cause| UserError { what: "user", name: user.to_string(), cause };
    let number = user.parse::<u32>().ok();
    let entry = match number {
        Some(uid) => User::from_uid(uid.into()),
        None => User::from_name(user),
    };
    // A name that is not there is reported by some sources as an error.
    let entry = match entry {
        Err(Errno::ENOENT | Errno::ESRCH) => None,
        entry => entry.map_err(|cause| wrong(Some(cause)))?,
    };
    let entry = match (entry, number) {
        (Some(entry), _) => entry,
        // A number needs no entry; it then has its own number as group.
        (None, Some(uid)) if uid != NOBODY_AT_ALL => return Ok(Some(nameless(uid, named_group.unwrap_or(uid)))),
        (None, _) => return Err(wrong(None)),
    };
    let gid = named_group.unwrap_or(entry.gid.as_raw());
    let groups = match CString::new(entry.name.as_str()) {
        Ok(name) => getgrouplist(&name, gid.into()).map_err(|cause| wrong(Some(cause)))?,
        Err(_) => vec![gid.into()],
    };
    Ok(Some(Account {
        uid: entry.uid.as_raw(),
        gid,
        groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect(),
        name: Some(entry.name),
        home: Some(entry.dir),
        shell: Some(entry.shell),
    }))
}

/// The name of a user; `None` where it has none, or where that cannot be found out. May wait for a directory server:
/// not for a node.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    User::from_uid(uid.into()).ok().flatten().map(|user| user.name)
}

fn find_group(group: &str) -> Result<u32, UserError> {
    let wrong = |cause| UserError { what: "group", name: group.to_string(), cause };
    if let Ok(gid) = group.parse::<u32>() {
        return if gid == NOBODY_AT_ALL { Err(wrong(None)) } else { Ok(gid) };
    }
    let entry = match Group::from_name(group) {
        Err(Errno::ENOENT | Errno::ESRCH) => None,
        entry => entry.map_err(|cause| wrong(Some(cause)))?,
    };
    let entry = entry.ok_or_else(|| wrong(None))?;
    Ok(entry.gid.as_raw())
}
