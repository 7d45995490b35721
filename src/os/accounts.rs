//! Looks up the users and groups that a file names: once, when the file is read. The ids are kept in the tree.

use super::users::{self, UserError};
use crate::ids::Path;
use crate::spec::account::Account;
use crate::spec::tree::{ChildKind, SupervisorSpec, TreeSpec};
use crate::spec::{Objection, Severity};
use std::collections::HashMap;

/// How to treat a user or group that is missing on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The tree is to be started here and now: anything missing is an error.
    Here,
    /// The file is meant for this machine: a user that certainly does not exist is an error; a failed look-up is a
    /// warning.
    Right,
    /// The file is meant for another machine: a warning.
    Elsewhere,
}

/// The results of `users::resolve`, by user and group.
type Known = HashMap<(Option<String>, Option<String>), Result<Option<Account>, UserError>>;

/// Looks up all accounts of `tree` and stores them in it. Returns what is missing, with its place in the tree.
pub fn look_up(tree: &mut TreeSpec, wanted: Wanted) -> Vec<(Path, &'static str, Objection)> {
    let mut missing = Vec::new();
    below(&mut tree.root, &Path::root(), wanted, &mut Known::new(), &mut missing);
    missing
}

fn below(
    supervisor: &mut SupervisorSpec,
    at: &Path,
    wanted: Wanted,
    known: &mut Known,
    missing: &mut Vec<(Path, &'static str, Objection)>,
) {
    for child in &mut supervisor.children {
        let path = at.child(&child.name);
        let exec = match &mut child.kind {
            ChildKind::Supervisor(supervisor) => {
                below(supervisor, &path, wanted, known, missing);
                continue;
            }
            ChildKind::Worker(exec) => exec,
        };
        let mut find = |user: &Option<String>, group: &Option<String>| {
            let key = (user.clone(), group.clone());
            let found = known.entry(key);
            let found = found.or_insert_with_key(|(user, group)| users::resolve(user.as_deref(), group.as_deref()));
            match found {
                Ok(account) => Ok(account.clone().map(Box::new)),
                Err(error) => Err((error.what(), objection(error, wanted))),
            }
        };
        let whole = exec.has_account().then_some((&exec.user, &exec.group, &mut exec.account, None));
        let sockets = exec.listen.iter_mut().filter(|listen| listen.user.is_some() || listen.group.is_some());
        let sockets = sockets.map(|listen| (&listen.user, &listen.group, &mut listen.account, Some("listen")));
        for (user, group, account, key) in whole.into_iter().chain(sockets) {
            match find(user, group) {
                Ok(found) => *account = found,
                Err((what, objection)) => missing.push((path.clone(), key.unwrap_or(what), objection)),
            }
        }
    }
}

fn objection(error: &UserError, wanted: Wanted) -> Objection {
    let what = error.what();
    let severity = match wanted {
        Wanted::Here => Severity::Error,
        Wanted::Right if error.is_certain() => Severity::Error,
        Wanted::Right | Wanted::Elsewhere => Severity::Warning,
    };
    let (code, label, hint) = match (error.is_certain(), what) {
        (true, "group") => ("unknown-group", "this machine knows no such group", "groupadd makes one"),
        (true, _) => ("unknown-user", "this machine knows no such user", "useradd makes one"),
        (false, _) => {
            ("not-looked-up", "whether it is there is not known", "see what /etc/nsswitch.conf asks, and try again")
        }
    };
    let elsewhere = "; a file for another machine is checked with --portable";
    let hint = match wanted {
        Wanted::Right if error.is_certain() => format!("{hint}{elsewhere}"),
        Wanted::Here | Wanted::Right | Wanted::Elsewhere => hint.to_owned(),
    };
    Objection { severity, code, message: error.to_string(), label: label.into(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{self, Read};

    fn read(text: &str, wanted: Wanted) -> Read {
        let mut read = spec::read_text("t.toml", text, &|_| None);
        let missing = read.tree.as_mut().map(|tree| look_up(tree, wanted)).expect("it is right but for its users");
        read.object(missing);
        read
    }

    const UNKNOWN: &str = "[defaults]\nuser = \"no-such-user\"\n[[child]]\nname = \"a\"\ncommand = \"true\"\ncount = 3\n\
        [[child]]\nname = \"b\"\ncommand = \"true\"\nuser = \"root\"\ngroup = \"no-such-group\"\n";

    #[test]
    fn a_missing_user_is_an_error_at_its_place_and_elsewhere_a_warning() {
        for (wanted, has_tree) in [(Wanted::Here, false), (Wanted::Right, false), (Wanted::Elsewhere, true)] {
            let read = read(UNKNOWN, wanted);
            assert_eq!(read.tree.is_some(), has_tree);
            let found: Vec<_> = read.diagnostics.iter().map(|d| (d.code, d.line, d.column, d.is_error())).collect();
            assert_eq!(found, [("unknown-user", 2, 8, !has_tree), ("unknown-group", 11, 9, !has_tree)], "{wanted:?}");
        }
    }

    #[test]
    fn what_is_found_is_kept_in_every_copy() {
        let text = "[[child]]\nname = \"s\"\n[[child.child]]\nname = \"a\"\ncommand = \"true\"\ncount = 2\nuser = \"root\"\n\
            [[child.child]]\nname = \"b\"\ncommand = \"true\"\n";
        let tree = read(text, Wanted::Here).tree.expect("root is there");
        let ChildKind::Supervisor(s) = &tree.root.children[0].kind else { panic!("a supervisor") };
        let accounts = s.children.iter().map(|child| match &child.kind {
            ChildKind::Worker(exec) => exec.account.as_ref().map(|account| account.uid),
            ChildKind::Supervisor(_) => None,
        });
        assert_eq!(accounts.collect::<Vec<_>>(), [Some(0), Some(0), None]);
    }
}
