//! Checks before a start or a reload whether the limits of a tree are possible in its cgroup.

use super::control::CgroupControllers;
use super::tree::OwnCgroup;
use crate::ids;
use crate::os::accounts::Wanted;
use crate::spec::resources::{Controller, LimitKey};
use crate::spec::tree::{ChildKind, Containment, SupervisorSpec, TreeSpec};
use crate::spec::{Objection, Severity};
use std::path::Path;

/// The cgroup that the tree is or will be below.
#[derive(Debug, Clone, Copy)]
pub enum Below<'a> {
    /// The cgroup of this process: the tree is to be started from here.
    Own,
    /// The cgroup above that of a running tree, which is given; `None` if that tree has no cgroup.
    Running(Option<&'a Path>),
}

struct AvailableControllers {
    survey: Result<CgroupControllers, String>,
    /// The controllers of the machine or the container; `None` if they do not matter.
    machine: Option<Vec<Controller>>,
}

impl AvailableControllers {
    fn look(below: Below<'_>) -> AvailableControllers {
        match below {
            Below::Running(None) => {
                AvailableControllers { survey: Err("this tree runs without cgroups".into()), machine: None }
            }
            Below::Running(Some(tree)) => {
                let survey = tree.parent().ok_or_else(|| "its cgroup is not known".to_owned()).and_then(survey);
                AvailableControllers { survey, machine: None }
            }
            Below::Own => match OwnCgroup::find() {
                Ok(own) => AvailableControllers {
                    survey: survey(&own.directory),
                    machine: CgroupControllers::of(&own.top).ok().map(|top| top.available),
                },
                Err(none) => AvailableControllers { survey: Err(none.to_string()), machine: Some(Vec::new()) },
            },
        }
    }

    /// Why this controller is not available for the tree, and whether the whole machine lacks it.
    fn why_without(&self, controller: Controller) -> Option<(String, bool)> {
        let on_machine = self.machine.as_ref().is_none_or(|machine| machine.contains(&controller));
        let why = match &self.survey {
            Err(why) => why.clone(),
            Ok(_) if !on_machine => {
                format!("the cgroup v2 hierarchy of this machine has no `{}` controller", controller.name())
            }
            Ok(survey) => survey.why_without(controller)?,
        };
        Some((why, !on_machine))
    }
}

fn survey(directory: &Path) -> Result<CgroupControllers, String> {
    CgroupControllers::of(directory)
        .map_err(|error| format!("the cgroup {} cannot be used: {error}", directory.display()))
}

/// The controllers that are not available for `below`, each with the reason.
pub fn missing(below: Below<'_>) -> Vec<(Controller, String)> {
    let supply = AvailableControllers::look(below);
    Controller::ALL.into_iter().filter_map(|one| Some((one, supply.why_without(one)?.0))).collect()
}

/// The limits of `tree` that are not possible for `below`, each with its place.
pub fn object(tree: &TreeSpec, wanted: Wanted, below: Below<'_>) -> Vec<(ids::Path, &'static str, Objection)> {
    // With `containment = "group"` limits are an error of the file itself; the controllers of another machine are
    // unknown.
    if tree.containment == Containment::Group || wanted == Wanted::Elsewhere {
        return Vec::new();
    }
    let mut uses = Vec::new();
    collect(&tree.root, &ids::Path::root(), &mut uses);
    if uses.is_empty() {
        return Vec::new();
    }
    let supply = AvailableControllers::look(below);
    let objections = uses.into_iter().filter_map(|(path, key)| {
        let (why, whole_machine) = supply.why_without(key.controller)?;
        Some((path, key.key, objection(key, why, whole_machine, wanted)))
    });
    objections.collect()
}

fn collect(supervisor: &SupervisorSpec, at: &ids::Path, into: &mut Vec<(ids::Path, LimitKey)>) {
    into.extend(supervisor.resources.limit_keys().map(|key| (at.clone(), key)));
    for child in &supervisor.children {
        let path = at.child(&child.name);
        match &child.kind {
            ChildKind::Worker(exec) => into.extend(exec.resources.limit_keys().map(|key| (path.clone(), key))),
            ChildKind::Supervisor(below) => collect(below, &path, into),
        }
    }
}

/// What makes controllers available that this machine lacks, or that a tree has not been passed.
pub fn delegation(whole_machine: bool) -> &'static str {
    if whole_machine {
        "boot with cgroup v2 alone (systemd.unified_cgroup_hierarchy=1)"
    } else {
        "systemd delegates a cgroup by `Delegate=yes` in the unit, or by `systemd-run --scope -p Delegate=yes treevisor \
         start …`, with --user for an ordinary user"
    }
}

fn objection(key: LimitKey, why: String, whole_machine: bool, wanted: Wanted) -> Objection {
    let name = key.key;
    let severity = match wanted {
        _ if key.best_effort => Severity::Warning,
        Wanted::Here => Severity::Error,
        // The same file works in a unit that delegates its cgroup.
        Wanted::Right if !whole_machine => Severity::Warning,
        Wanted::Right | Wanted::Elsewhere => Severity::Error,
    };
    let label = match (key.best_effort, severity) {
        (true, _) => "the tree starts without it (`best-effort`)".to_owned(),
        (false, Severity::Warning) => "started from here, the tree would be refused".to_owned(),
        (false, Severity::Error) => format!("it needs the `{}` controller", key.controller.name()),
    };
    let delegation = delegation(whole_machine);
    let elsewhere = match (wanted, severity) {
        (Wanted::Right, Severity::Error) => "; a file for another machine is checked with --portable",
        _ => "",
    };
    let without = if key.best_effort { "" } else { "; `{ value = …, best-effort = true }` starts without it" };
    Objection {
        severity,
        code: "no-controller",
        message: format!("`{name}` cannot be set here: {why}"),
        label,
        hint: format!("{delegation}{without}{elsewhere}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;
    use std::fs;

    const FILE: &str = "memory-max = \"1G\"\n[[child]]\nname = \"a\"\ncommand = \"a\"\ncount = 2\n\
                        cpu-weight = { value = 50, best-effort = true }\npids-max = \"max\"\n";

    fn found(wanted: Wanted, below: Below<'_>) -> (bool, Vec<(&'static str, u32, bool)>) {
        let mut read = spec::read_text("t.toml", FILE, &|_| None);
        let objections = object(read.tree.as_ref().unwrap(), wanted, below);
        read.object(objections);
        let found = read.diagnostics.iter().map(|found| (found.code, found.line, found.is_error()));
        (read.tree.is_some(), found.collect())
    }

    #[test]
    fn a_limit_without_its_controller_is_refused_unless_it_is_best_effort() {
        let (memory, cpu) = (("no-controller", 1, true), ("no-controller", 6, false));
        assert_eq!(found(Wanted::Here, Below::Running(None)), (false, vec![memory, cpu]));
        assert_eq!(found(Wanted::Elsewhere, Below::Running(None)), (true, vec![]));
        let own = tempfile::tempdir().unwrap();
        let tree = own.path().join("treevisor-t-1");
        let put = |controllers| fs::write(own.path().join("cgroup.controllers"), controllers).unwrap();
        for file in ["cgroup.subtree_control", "cgroup.procs", "cgroup.type"] {
            fs::write(own.path().join(file), "").unwrap();
        }
        put("memory cpu");
        assert_eq!(found(Wanted::Here, Below::Running(Some(&tree))), (true, vec![]));
        put("memory");
        assert_eq!(found(Wanted::Here, Below::Running(Some(&tree))), (true, vec![cpu]));
        put("");
        // Only a warning, since the file may be right in a unit.
        let here = found(Wanted::Right, Below::Running(Some(&tree)));
        assert_eq!(here, (true, vec![("no-controller", 1, false), cpu]));
        assert_eq!(missing(Below::Running(Some(&tree))).len(), 4);
    }
}
