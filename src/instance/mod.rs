//! The two directories of an instance: the runtime directory, which exists while it runs, and the state directory,
//! which outlives it. Nodes, workers' sockets and tools find them by the same rules.

pub mod runtime;
pub mod state;

#[cfg(test)]
pub(crate) mod testing {
    use super::runtime::InstanceFile;
    use crate::ids::Name;

    /// The description of an instance of this name, with process 1 as its root.
    pub(crate) fn instance(name: &str) -> InstanceFile {
        InstanceFile {
            name: Name::parse(name).unwrap(),
            pid: 1,
            started_at: String::new(),
            version: String::new(),
            mark: String::new(),
            containment: "group".into(),
            cgroup: None,
            keeper_pid: None,
            config: "/nowhere/tree.toml".into(),
            tree_paths: Vec::new(),
        }
    }
}
