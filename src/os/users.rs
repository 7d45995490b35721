//! Users and groups. They are looked up when a file is read, by the tool or by the root before there is a tree: the
//! source may be a directory server that does not answer, and a node must not wait for one.
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
    /// In the kernel's numbers.
    pub uid: u32,
    /// The primary one.
    pub gid: u32,
    /// Supplementary ones, beside the primary.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// Those of an account.
    pub fn of(account: &Account) -> Credentials {
        Credentials { uid: account.uid, gid: account.gid, groups: account.groups.clone() }
    }

    /// Makes this user the owner of an open file, since only the owner can open a pipe again. If that is not permitted,
    /// the owner stays, and the file can be written in any case.
    pub(crate) fn own(&self, file: BorrowedFd<'_>) {
        let _ = nix::unistd::fchown(file, Some(self.uid.into()), Some(self.gid.into()));
    }

    /// Whether this process already runs with exactly these credentials, so that nothing has to be changed. An ordinary
    /// user may not even set its groups to what they are.
    pub fn are_ours(&self) -> bool {
        let (Ok(user), Ok(group)) = (nix::unistd::getresuid(), nix::unistd::getresgid()) else { return false };
        let Ok(groups) = nix::unistd::getgroups() else { return false };
        let users = [user.real, user.effective, user.saved].map(nix::unistd::Uid::as_raw);
        let own = [group.real, group.effective, group.saved].map(nix::unistd::Gid::as_raw);
        // It makes no difference whether the group itself is among the supplementary groups as well.
        let with_own = |groups: &[u32]| groups.iter().copied().chain([self.gid]).collect::<BTreeSet<_>>();
        let groups: Vec<u32> = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
        users == [self.uid; 3] && own == [self.gid; 3] && with_own(&groups) == with_own(&self.groups)
    }
}

/// For setresuid(2) and its like the highest number means "unchanged", so it names no user. If it were accepted as one,
/// a child would keep all permissions of this process.
const NOBODY_AT_ALL: u32 = u32::MAX;

/// Why a user or group could not be found.
#[derive(Debug)]
pub struct UserError {
    what: &'static str,
    name: String,
    cause: Option<Errno>,
}

impl UserError {
    /// The kind of account: "user" or "group".
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Whether the user or group certainly does not exist; false if the look-up failed.
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

/// Looks up a user and a group, by name or number. Without `group`, the group is the user's own.
///
/// # Errors
/// If there is no such user or group, or the look-up fails.
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
    // Some sources report a name that does not exist as an error.
    let entry = match entry {
        Err(Errno::ENOENT | Errno::ESRCH) => None,
        entry => entry.map_err(|cause| wrong(Some(cause)))?,
    };
    let entry = match (entry, number) {
        (Some(entry), _) => entry,
        // A number needs no entry; its group is then the same number.
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

/// The name of a user; `None` if it has none, or the look-up fails. May wait for a directory server, so a node must not
/// call it.
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
