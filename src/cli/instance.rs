//! Finds the instance that a command means, and reports if there is none.

use super::failure::{ExitCode, Failure};
use super::options::Target;
use crate::control::{self, AskError, FindError, Instance, Session};
use crate::error::Chain;
use crate::ids::{Name, Path};
use crate::instance::runtime::RuntimeDir;
use crate::spec::host::INSTANCE as HOST;
use crate::time::Span;
use crate::wire::hosts::{HostReply, HostRequest};
use crate::wire::view::StatusView;

/// Finds the instance of a command. `verb` and `path` are for the message if there is none.
pub(super) fn find(target: &Target, verb: &str, path: &Path) -> Result<Instance, Failure> {
    anywhere(target.instance.as_deref()).map_err(|error| {
        let there = match &error {
            FindError::NotRunning { name, base, .. } => located(base, name.as_str()).map(|there| (there, name)),
            _ => None,
        };
        there.map_or_else(|| not_found(verb, path, &error), |(there, name)| elsewhere(there, verb, path, name))
    })
}

/// The instance of a command, on this machine, or on another host to which this host's agent forwards requests.
///
/// # Errors
/// As [`control::find`]; and [`FindError::Twice`].
pub(super) fn anywhere(wanted: Option<&str>) -> Result<Instance, FindError> {
    let base = control::own_base();
    match control::find(&base, wanted) {
        Ok(instance) if wanted.is_none() && control::is_of_host(&instance) => of_cluster(&base, instance),
        Ok(instance) => match located(&base, instance.name.as_str()) {
            Some(Located { host: Some(host), here: false, .. }) => Err(FindError::Twice { instance, host }),
            _ => Ok(instance),
        },
        Err(FindError::NotRunning { name, base, running }) => located(&base, name.as_str())
            .and_then(|there| there.instance(&name))
            .ok_or(FindError::NotRunning { name, base, running }),
        Err(error) => Err(error),
    }
}

/// On a host, if no instance is named and only the host's own tree runs: the cluster's instance, if it has exactly one.
fn of_cluster(base: &std::path::Path, own: Instance) -> Result<Instance, FindError> {
    let Ok(HostReply::Hosts(view)) = control::ask_agent(base, &HostRequest::Hosts, &[], Span::from_secs(1)) else {
        return Ok(own);
    };
    let mut names = view.instances.iter().filter_map(|one| Name::parse(&one.instance).ok()).collect::<Vec<_>>();
    match names.len() {
        0 => Ok(own),
        1 => {
            let name = names.remove(0);
            let there = located(base, name.as_str()).and_then(|there| there.instance(&name));
            there.ok_or(FindError::NotRunning { name, base: base.to_owned(), running: vec![own.name] })
        }
        _ => Err(FindError::Several { names }),
    }
}

/// The host that runs an instance of this machine's cluster.
struct Located {
    host: Option<String>,
    here: bool,
    via: Option<String>,
}

/// `None` if this machine is not a host, or the cluster does not know the instance.
fn located(base: &std::path::Path, instance: &str) -> Option<Located> {
    // Every host has an instance of this name, its own tree, which is never looked up in the cluster.
    if instance == HOST {
        return None;
    }
    let ask = HostRequest::Locate { instance: instance.to_owned() };
    let told = control::ask_agent(base, &ask, &[], Span::from_secs(1)).ok()?;
    let HostReply::Located { host, here, known: true, via } = told else { return None };
    Some(Located { host, here, via })
}

impl Located {
    /// The instance to connect to, by way of this host's agent.
    fn instance(&self, name: &Name) -> Option<Instance> {
        let runtime = RuntimeDir::of(std::path::Path::new(self.via.as_ref()?), name).ok()?;
        Some(Instance { name: name.clone(), runtime })
    }
}

/// The failure for an instance that the cluster knows and that cannot be reached from here.
fn elsewhere(there: Located, verb: &str, path: &Path, instance: &Name) -> Failure {
    let (message, hint) = match there.host {
        Some(host) if there.here => (
            format!("cannot {verb} {path}: \"{instance}\" is to run on this host, {host}, and does not at the moment"),
            "`treevisor hosts` and `treevisor logs -i host` show why".to_owned(),
        ),
        Some(host) => (
            format!(
                "cannot {verb} {path}: \"{instance}\" runs on the host {host}, to which there is no link from here"
            ),
            format!(
                "type the same on {host}; `treevisor hosts` shows the links, which hosts with `listen` in host.toml have"
            ),
        ),
        None => (
            format!("cannot {verb} {path}: \"{instance}\" runs on no host of the cluster at the moment"),
            "`treevisor hosts` shows why; one that has given up on each of them begins anew when it is deployed again"
                .to_owned(),
        ),
    };
    Failure::new(ExitCode::NoCluster, message).hint(hint)
}

/// The state of the tree, for one look of several. When the way to a root on another host is lost, the next look takes
/// another, by [`anywhere`]: the link to its host may be up again, or the root run on another host. It is of the
/// instance that was found first, even if others run by now.
pub(super) fn look_there(
    session: &mut Session,
    instance: &Name,
    path: &Path,
    limit: Span,
    find: impl Fn(Option<&str>) -> Result<Instance, FindError>,
) -> Result<StatusView, AskError> {
    let told = session.status(path, limit);
    if matches!(told, Err(AskError::Cut))
        && let Ok(found) = find(Some(instance.as_str()))
        && let Ok(again) = Session::connect(&found.runtime)
    {
        *session = again;
    }
    told
}

pub(super) fn not_found(verb: &str, path: &Path, error: &FindError) -> Failure {
    let message = format!("cannot {verb} {path}: {}", Chain(error));
    match error {
        FindError::NoneRuns { .. } => Failure::new(ExitCode::NoInstance, message)
            .hint("start one with `treevisor start FILE`; those of other users are seen by them only"),
        FindError::NotRunning { .. } => Failure::new(ExitCode::NoInstance, message)
            .hint("an instance is called by the `name` in its file, or else after the file"),
        FindError::Several { .. } => {
            Failure::new(ExitCode::Usage, message).hint("say which one, with --instance NAME or TREEVISOR_INSTANCE")
        }
        FindError::Twice { instance, .. } => {
            let pid = instance.runtime.read_instance().map(|read| format!("`kill {}`", read.pid)).ok();
            let how = pid.unwrap_or_else(|| "a signal to its root".to_owned());
            Failure::new(ExitCode::Usage, message)
                .hint(format!("{how} ends the one of this machine; that of the cluster can be asked from another host"))
        }
        FindError::BadName { .. } | FindError::Runtime(_) => Failure::new(ExitCode::Usage, message),
        FindError::Look { .. } => Failure::new(ExitCode::Failed, message),
    }
}

/// The path of the tree that is most similar to `path`, if one is similar enough.
pub(super) fn near_path(path: &Path, instance: &Instance) -> Option<Path> {
    near(path, instance.runtime.read_instance().ok()?.tree_paths.into_iter().map(|known| known.path))
}

/// The one of these paths that is most similar to `path`, if one is similar enough.
pub(super) fn near(path: &Path, known: impl Iterator<Item = Path>) -> Option<Path> {
    /// The least similarity for a suggestion.
    const LIKE: f64 = 0.75;
    let like = |other: &Path| {
        let whole = strsim::jaro_winkler(path.as_str(), other.as_str());
        // The same name at another place of the tree is a perfect match.
        let name = if path.name().is_some() && path.name() == other.name() { 1.0 } else { 0.0 };
        whole.max(name)
    };
    known
        .map(|known| (like(&known), known))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::testing::shop;
    use crate::control::session::testing::{LONG, Root, without_records};
    use crate::wire::message::Reply;
    use std::thread;

    #[test]
    fn when_the_way_to_the_root_is_lost_the_next_look_takes_another_one() {
        let (far, runtime) = Root::below("host/via");
        let mut session = Session::connect(&runtime).unwrap();
        without_records(&mut session);
        let _directory = far.end();
        let (mut near, runtime) = Root::new();
        let played = thread::spawn(move || {
            let (to, ask) = near.next();
            near.tell(&to, ask.request, Reply::Status { status: Box::new(shop()) });
            near.end()
        });
        let name = Name::parse("shop").unwrap();
        let mut look = || {
            look_there(&mut session, &name, &Path::root(), LONG, |wanted| {
                assert_eq!(wanted, Some("shop"), "no other instance that runs by now");
                Ok(Instance { name: name.clone(), runtime: runtime.clone() })
            })
        };
        assert!(matches!(look(), Err(AskError::Cut)));
        assert_eq!(look().unwrap(), shop());
        drop(played.join().unwrap());
    }
}
