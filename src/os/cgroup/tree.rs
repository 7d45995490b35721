//! The cgroup of one running tree, below the cgroup of this process. It is found through /proc, so hybrid layouts work
//! as well, whose v2 hierarchy has no controllers: killing needs none. It is tested before use with a process that is
//! created in it, which is why this module depends on both cgroups and spawning.
use super::Group;
use super::names::PREFIX;
use crate::ids::Mark;
use crate::os::spawn;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Why cgroups cannot be used.
#[derive(Debug)]
pub struct Unavailable {
    reason: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Unavailable {}

/// The cgroup of one running tree.
#[derive(Debug)]
pub struct Tree {
    root: Group,
}

impl Tree {
    /// Creates the cgroup of a tree below the cgroup of this process, and tests whether killing works there.
    ///
    /// # Errors
    /// Why no cgroup can be used.
    pub fn create(instance: &str, mark: &Mark) -> Result<Tree, Unavailable> {
        let own = OwnCgroup::find()?.directory;
        let short: String = mark.as_str().chars().take(8).collect();
        let path = own.join(format!("{PREFIX}{instance}-{short}"));
        let wrong =
            |what: &str, error: io::Error| Unavailable { reason: format!("{what} {}: {error}", path.display()) };
        fs::create_dir(&path).map_err(|error| wrong("cannot make", error))?;
        let root = Group::open(&path).map_err(|error| {
            let _ = fs::remove_dir(&path);
            wrong("cannot open", error)
        })?;
        let tree = Tree { root };
        let tried = tree.try_out();
        if let Err(error) = tried {
            tree.remove();
            return Err(wrong("cannot use", error));
        }
        Ok(tree)
    }

    /// Tests starting and killing in a cgroup of its own: a tree that finds out later that it cannot start or kill its
    /// children is worse than one without cgroups.
    fn try_out(&self) -> io::Result<()> {
        let trial = self.root.child("trial")?;
        // This process's own cgroup may have been killed before this process came into it.
        if !spawn::try_in_group(&trial)? {
            self.root.entered_by_itself.set(true);
            let trial = self.root.child("trial")?;
            if !spawn::try_in_group(&trial)? {
                return Err(io::Error::other("a process that is started there does not live"));
            }
        }
        trial.kill().map_err(|error| {
            io::Error::new(error.kind(), format!("cgroup.kill, which Linux has since 5.14, does not work: {error}"))
        })?;
        trial.remove_all();
        Ok(())
    }

    /// Restores the cgroup of a tree that another image of this program has created (hot upgrade).
    pub fn again(root: Group) -> Tree {
        Tree { root }
    }

    /// Its directory below the mount of cgroup2.
    pub fn path(&self) -> &Path {
        &self.root.path
    }

    /// The tree's own cgroup, with those of its children in it.
    pub fn root(&self) -> &Group {
        &self.root
    }

    /// Removes it and all cgroups below it, as far as they are empty.
    pub fn remove(self) {
        self.root.remove_all();
    }
}

/// The place of this process in the cgroup v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCgroup {
    /// The directory of its cgroup.
    pub directory: PathBuf,
    /// The topmost cgroup that can be seen from here: in a container, the container's.
    pub top: PathBuf,
}

impl OwnCgroup {
    /// Finds the cgroup of this process.
    ///
    /// # Errors
    /// Why this process is in no cgroup that can be used.
    pub fn find() -> Result<OwnCgroup, Unavailable> {
        let read = |path: &str| {
            // Mount points may have names that are not UTF-8.
            let bytes = fs::read(path).map_err(|_| Unavailable { reason: format!("{path} cannot be read") })?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        OwnCgroup::from(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
    }

    /// Parses the two texts of /proc. Of several mounts, the first one that shows the cgroup is used.
    fn from(mounts: &str, groups: &str) -> Result<OwnCgroup, Unavailable> {
        let none = |reason: &str| Unavailable { reason: reason.to_string() };
        // "36 35 98:0 /root /mount/point options … - fstype source options", proc_pid_mountinfo(5).
        let mut mounts = mounts
            .lines()
            .filter_map(|line| {
                let (fields, rest) = line.split_once(" - ")?;
                let mut fields = fields.split(' ').skip(3);
                (rest.split(' ').next() == Some("cgroup2")).then_some((fields.next()?, fields.next()?))
            })
            .peekable();
        if mounts.peek().is_none() {
            return Err(none("no cgroup v2 hierarchy is mounted"));
        }
        let own = groups
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .ok_or_else(|| none("this process is in no cgroup of the v2 hierarchy"))?;
        mounts
            .find_map(|(root, mount)| {
                let below = Path::new(own).strip_prefix(unescape(root)).ok()?;
                // A cgroup outside of this process's cgroup namespace is shown as "/../…".
                let inside = below.components().all(|part| matches!(part, Component::Normal(_)));
                let top = PathBuf::from(unescape(mount));
                inside.then(|| OwnCgroup { directory: top.join(below), top })
            })
            .ok_or_else(|| none("our cgroup lies outside of the mount"))
    }
}

/// mountinfo has blanks as octal numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_group_is_found_in_what_proc_says() {
        let found = |mounts: &str, groups: &str| {
            let own = OwnCgroup::from(mounts, groups).map_err(|none| none.to_string())?;
            Ok::<_, String>(own.directory.to_str().unwrap().to_string())
        };
        let v1 = "30 29 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:4 - cgroup cgroup rw,cpu";
        let v2 = "42 29 0:37 / /sys/fs/cgroup/unified rw,relatime shared:5 master:1 - cgroup2 cgroup2 rw";
        let pure = "42 29 0:37 / /sys/fs/cgroup rw,nosuid shared:5 - cgroup2 cgroup2 rw,nsdelegate";
        let hybrid = format!("{v1}\n{v2}\n");
        assert_eq!(found(&hybrid, "8:cpu:/a\n0::/\n").unwrap(), "/sys/fs/cgroup/unified/");
        assert_eq!(found(pure, "0::/user.slice/a b\n").unwrap(), "/sys/fs/cgroup/user.slice/a b");
        assert_eq!(found(v1, "0::/\n").unwrap_err(), "no cgroup v2 hierarchy is mounted");
        assert_eq!(found(pure, "8:cpu:/a\n").unwrap_err(), "this process is in no cgroup of the v2 hierarchy");
        // A part of the hierarchy is mounted, under a name with blanks.
        let part = "42 29 0:37 /docker/1 /mnt/with\\040blank\\134 rw - cgroup2 cgroup2 rw";
        assert_eq!(found(part, "0::/docker/1/x").unwrap(), "/mnt/with blank\\/x");
        assert_eq!(found(part, "0::/docker/11/x").unwrap_err(), "our cgroup lies outside of the mount");
        // If the first mount does not show this process's cgroup, another one may.
        assert_eq!(found(&format!("{part}\n{pure}\n"), "0::/user").unwrap(), "/sys/fs/cgroup/user");
        assert_eq!(found(pure, "0::/../other").unwrap_err(), "our cgroup lies outside of the mount");
    }
}
