//! The instance that is meant: how it is found, and what is reported when it is not.

use super::failure::{ExitCode, Failure};
use super::options::Target;
use crate::control::{self, FindError, Instance};
use crate::error::Chain;
use crate::ids::Path;
use crate::time::Span;
use crate::wire::hosts::{HostAsk, HostTold};

/// Finds the instance that is meant. `verb` and `path` are what it is looked for, for the case that there is none.
pub(super) fn find(target: &Target, verb: &str, path: &Path) -> Result<Instance, Failure> {
    let base = control::own_base();
    control::find(&base, target.instance.as_deref()).map_err(|error| {
        let elsewhere = match &error {
            FindError::NotRunning { name, .. } => elsewhere(&base, verb, path, name.as_str()),
            _ => None,
        };
        elsewhere.unwrap_or_else(|| not_found(verb, path, &error))
    })
}

/// The host that the root of an instance runs on, where this machine belongs to a cluster that knows of it.
fn elsewhere(base: &std::path::Path, verb: &str, path: &Path, instance: &str) -> Option<Failure> {
    let ask = HostAsk::Locate { instance: instance.to_owned() };
    let located = control::ask_agent(base, &ask, &[], Span::from_secs(1)).ok()?;
    let HostTold::Located { host, here, known: true } = located else { return None };
    let (message, hint) = match host {
        Some(host) if here => (
            format!("cannot {verb} {path}: \"{instance}\" is to run on this host, {host}, and does not at the moment"),
            "`treevisor hosts` and `treevisor logs -i host` tell why".to_owned(),
        ),
        Some(host) => (
            format!("cannot {verb} {path}: \"{instance}\" runs on the host {host}"),
            format!("ask there: type the same on {host}; it is not passed on from here yet"),
        ),
        None => (
            format!("cannot {verb} {path}: \"{instance}\" runs on no host of the cluster at the moment"),
            "`treevisor hosts` tells why".to_owned(),
        ),
    };
    Some(Failure::new(ExitCode::NoCluster, message).hint(hint))
}

pub(super) fn not_found(verb: &str, path: &Path, error: &FindError) -> Failure {
    let message = format!("cannot {verb} {path}: {}", Chain(error));
    match error {
        FindError::NoneRuns { .. } => Failure::new(ExitCode::NoInstance, message)
            .hint("start one with `treevisor start FILE`; those of other users are seen by them only"),
        FindError::NotRunning { .. } => Failure::new(ExitCode::NoInstance, message)
            .hint("the name of an instance is that of `name` in its file, or the file's own"),
        FindError::Several { .. } => {
            Failure::new(ExitCode::Usage, message).hint("say which one, with --instance NAME or TREEVISOR_INSTANCE")
        }
        FindError::BadName { .. } | FindError::Runtime(_) => Failure::new(ExitCode::Usage, message),
        FindError::Look { .. } => Failure::new(ExitCode::Failed, message),
    }
}

/// The path of the tree that is most like `path`, if any is.
pub(super) fn near_path(path: &Path, instance: &Instance) -> Option<Path> {
    near(path, instance.runtime.read_instance().ok()?.tree_paths.into_iter().map(|known| known.path))
}

/// The one of these paths that is most like `path`, if any is.
pub(super) fn near(path: &Path, known: impl Iterator<Item = Path>) -> Option<Path> {
    /// Below this, two paths have nothing to do with each other.
    const LIKE: f64 = 0.75;
    let like = |other: &Path| {
        let whole = strsim::jaro_winkler(path.as_str(), other.as_str());
        // An operator who forgets the way to a child still knows its name.
        let name = if path.name().is_some() && path.name() == other.name() { 1.0 } else { 0.0 };
        whole.max(name)
    };
    known
        .map(|known| (like(&known), known))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, path)| path)
}
