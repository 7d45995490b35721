//! `treevisor deploy`: copies a tree's bundle to this host's disk and has the cluster run it from then on.

use super::agent;
use super::failure::{ExitCode, Failure};
use super::options::{ColorMode, Target};
use super::out::{self, Out};
use super::render::Look;
use super::{file, plan};
use crate::files;
use crate::os::accounts::Wanted;
use crate::spec::placed::hosts_named;
use crate::spec::tree::TreeSpec;
use crate::spec::{self, diff};
use crate::text;
use crate::time::Span;
use crate::wire::hosts::{BUNDLE_FILES_MAX, BUNDLE_MAX, Bundle, BundleFile, HostReply, HostRequest, HostsView};
use clap::Args;
use serde_json::json;
use std::path::{Component, Path, PathBuf};

/// Have a tree run on one of the cluster's hosts
///
/// Checks FILE here, brings it with all that it includes to this host's disk, and makes it what the cluster runs. Its
/// root is started on one of the hosts that have it. Hosts that are connected (`listen` in host.toml) all get it from
/// this one and check it; among others it is to be done on each that may run it: a host runs nothing that is not on its
/// disk.
#[derive(Debug, Args)]
#[command(after_long_help = "\
The first deployment of a new content makes it the wanted one: a tree that runs is reloaded where
its host has it, and goes on as it is where not. Further ones, on the other hosts, change nothing more.
A tree that is down, as it has given up everywhere or was stopped, is started again.

Files that are included lie in the folder of FILE or below it. Variables, `env-file` and relative
paths are those of the host that runs the root: relative paths begin in the state directory of the instance.

Examples:
  treevisor deploy shop.toml --plan
  treevisor deploy shop.toml
  treevisor hosts

Exit codes:
  0  it is wanted, and lies on this host's disk; with --plan: the plan was shown
  1  it could not be brought there, or the store does not answer; or, of hosts that are connected,
     fewer than three (and not all) have it, or one that may run it has found errors: nothing is
     changed
  2  the file has errors
  6  no agent runs here
")]
pub struct Deploy {
    /// The tree's file
    pub file: PathBuf,
    /// Which instance: to be sure that FILE is the one that is meant.
    #[command(flatten)]
    pub target: Target,
    /// Show what would change against what is deployed, and do nothing
    #[arg(long)]
    pub plan: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Limit for the disk and the store.
const WITHIN: Span = Span::from_secs(30);

pub(super) fn run(args: Deploy, when: ColorMode) -> Result<ExitCode, Failure> {
    let read = file::read(&args.file, Wanted::Here).without_advice();
    read.show(when);
    let files: Vec<PathBuf> = read.files().map(Path::to_owned).collect();
    let tree = read.into_tree("deploy", &args.file)?;
    named_as_asked(&args, &tree)?;
    if args.plan {
        return show_plan(&args, &tree, when);
    }
    let (bundle, contents) = bundle(&args.file, &tree, &files)?;
    let doing = format!("deploy {}", tree.name);
    let view = agent::hosts(&doing)?;
    can_be_taken_over(&doing, &tree, &view)?;
    let told = agent::ask(&doing, &HostRequest::Deploy(bundle), &contents, WITHIN)?;
    let HostReply::Deployed { digest, again, without, brought } = told else {
        return Err(agent::not_understood(&doing));
    };
    for unknown in unknown_hosts(&tree, &view) {
        out::say(when, &unknown);
    }
    if args.json {
        let shown =
            json!({ "instance": tree.name, "digest": digest, "again": again, "without": without, "brought": brought });
        Out::open().write_json(&shown)?;
        return Ok(ExitCode::Done);
    }
    let what = if again { "is what was deployed before, and lies on this host too" } else { "is deployed" };
    Out::open().write(&format!("{} {what} ({})\n", tree.name, text::cut(&digest, 12)))?;
    if !without.is_empty() {
        out::say(
            when,
            &if brought {
                format!("not on {} yet: a host has it as soon as it can be reached", without.join(", "))
            } else {
                format!(
                    "not known to lie on {} yet: a host runs nothing that was not deployed on it",
                    without.join(", ")
                )
            },
        );
    }
    Ok(ExitCode::Done)
}

/// Hosts that the tree names and the cluster does not have. The name may be mistyped, or the host may join later.
fn unknown_hosts(tree: &TreeSpec, view: &HostsView) -> Vec<String> {
    let all: Vec<&str> = view.hosts.iter().map(|host| host.name.as_str()).collect();
    let named = hosts_named(tree).into_iter().filter(|(host, _)| !all.contains(&host.as_str()));
    named
        .map(|(host, path)| {
            format!(
                "`placement` of {path} names {host}, and no host of the cluster is called so: it has {}",
                all.join(", ")
            )
        })
        .collect()
}

fn named_as_asked(args: &Deploy, tree: &TreeSpec) -> Result<(), Failure> {
    let by_variable = std::env::var("TREEVISOR_INSTANCE").ok();
    match &args.target.instance {
        Some(asked) if asked != tree.name.as_str() && args.target.instance != by_variable => {
            let message = format!("cannot deploy \"{}\" as \"{asked}\": a tree is named by its file", tree.name);
            Err(Failure::new(ExitCode::Usage, message).hint(format!("write name = \"{asked}\" there")))
        }
        _ => Ok(()),
    }
}

fn show_plan(args: &Deploy, new: &TreeSpec, when: ColorMode) -> Result<ExitCode, Failure> {
    let doing = format!("plan the deployment of {}", new.name);
    let Some((file, old)) = deployed(&doing, new)? else {
        return shown(args, None, &format!("{} is not deployed, or not on this host: all of it is new\n", new.name));
    };
    let old = old.ok_or_else(|| {
        Failure::new(ExitCode::Failed, format!("cannot {doing}: what is deployed cannot be read here any more: {file}"))
    })?;
    let plan = diff::diff(&old, new, true)
        .map_err(|refused| not_over(new, &refused).hint(format!("put `{}` back", refused.key)))?;
    let moved = if old.placement == new.placement { "" } else { "its placement changes\n" };
    shown(args, Some(&plan), &format!("{moved}{}", plan::draw(&plan, Look::of_stdout(when))))
}

/// Checks that a running tree can become the new one: that is done by a reload, which cannot change everything.
fn can_be_taken_over(doing: &str, new: &TreeSpec, view: &HostsView) -> Result<(), Failure> {
    if !view.instances.iter().any(|one| one.instance == new.name.as_str() && one.host.is_some()) {
        return Ok(());
    }
    let Some((_, Some(old))) = deployed(doing, new)? else { return Ok(()) };
    diff::diff(&old, new, true).map(drop).map_err(|refused| {
        not_over(new, &refused).hint(format!(
            "put `{}` back, or stop the tree where it runs (`treevisor stop -i {}`) and deploy it then",
            refused.key, new.name
        ))
    })
}

/// The deployed bundle of this instance on this host: its file, and the tree if it can be read here.
fn deployed(doing: &str, new: &TreeSpec) -> Result<Option<(String, Option<TreeSpec>)>, Failure> {
    let told = agent::ask(doing, &HostRequest::Bundle { instance: new.name.to_string() }, &[], agent::AT_ONCE)?;
    let HostReply::Bundle { file } = told else { return Err(agent::not_understood(doing)) };
    Ok(file.map(|file| {
        let tree = spec::read(Path::new(&file), &|name| std::env::var(name).ok()).tree;
        (file, tree)
    }))
}

fn not_over(new: &TreeSpec, refused: &diff::Refused) -> Failure {
    Failure::new(ExitCode::Failed, format!("cannot deploy \"{}\" over what runs: {refused}", new.name))
}

fn shown(args: &Deploy, plan: Option<&diff::Diff>, text: &str) -> Result<ExitCode, Failure> {
    let mut out = Out::open();
    if args.json {
        out.write_json(&json!({ "plan": plan }))?;
    } else {
        out.write(text)?;
    }
    Ok(ExitCode::Done)
}

/// The bundle of a file and those that it includes, each by its path relative to the file's directory.
fn bundle(file: &Path, tree: &TreeSpec, files: &[PathBuf]) -> Result<(Bundle, Vec<Vec<u8>>), Failure> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let wrong = |path: &Path, why: &str| {
        Failure::new(ExitCode::Usage, format!("cannot deploy {}: {}: {why}", file.display(), path.display()))
    };
    let mut bundle = Bundle { instance: tree.name.to_string(), file: String::new(), files: Vec::new() };
    let mut contents = Vec::new();
    for path in files {
        let below = path.strip_prefix(folder).ok().and_then(plain);
        let Some(below) = below else {
            return Err(wrong(path, "it does not lie in the folder of the file, or below it"));
        };
        if bundle.files.iter().any(|known| known.path == below) {
            continue;
        }
        // The main file has the instance's name on every host, so that a running root finds the next bundle's file
        // under the same name.
        let below = if contents.is_empty() { format!("{}.toml", tree.name) } else { below };
        if bundle.files.iter().any(|known| known.path == below) {
            return Err(wrong(path, &format!("a file that is included cannot be called {below}, as the instance")));
        }
        let content = files::read_regular(path, BUNDLE_MAX as u64).map_err(|error| wrong(path, &error.to_string()))?;
        bundle.files.push(BundleFile { path: below, bytes: content.len() });
        contents.push(content);
    }
    bundle.file = bundle.files.first().map(|first| first.path.clone()).unwrap_or_default();
    if contents.len() > BUNDLE_FILES_MAX || contents.iter().map(Vec::len).sum::<usize>() > BUNDLE_MAX {
        let most = format!("it has more than {BUNDLE_FILES_MAX} files, or more than {BUNDLE_MAX} bytes");
        return Err(wrong(file, &most));
    }
    Ok((bundle, contents))
}

/// A relative path as text; `None` if it leaves its directory.
fn plain(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.join("/")).filter(|path| !path.is_empty())
}
