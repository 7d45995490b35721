//! `treevisor host check`: shows the meaning of a host's file, or its errors.

use super::option;
use crate::cli::failure::{ExitCode, Failure};
use crate::cli::file;
use crate::cli::options::ColorMode;
use crate::cli::out::{self, Out};
use crate::files;
use crate::spec::host::{HostFile, MeshFile};
use crate::spec::policy::Words;
use crate::time::Span;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Check the file of a host
///
/// Reads FILE as `host run` would, starts nothing, and shows what it means. All errors are shown at once, on stderr.
/// The store is not asked.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  treevisor host check
  treevisor host check ./host.toml
  treevisor host check --json | jq .host.lease_ms

Exit codes:
  0  the file is right; there may be warnings
  2  it has errors, or cannot be read
")]
pub struct Check {
    /// The host's file
    #[arg(env = "TREEVISOR_HOST_FILE", hide_env_values = true, default_value = "/etc/treevisor/host.toml")]
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: Check, when: ColorMode) -> Result<ExitCode, Failure> {
    let read = option::read(&args.file);
    let ok = read.host.is_some();
    let code = if ok { ExitCode::Done } else { ExitCode::Usage };
    if args.json {
        let host = read.host.as_ref().map(host_json);
        Out::open().write_json(&json!({ "ok": ok, "diagnostics": read.diagnostics, "host": host }))?;
        return Ok(code);
    }
    file::show(&read.diagnostics, when);
    let name = args.file.display();
    let errors = read.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let warnings = read.diagnostics.len() - errors;
    let also = if warnings > 0 { file::count(warnings, "warning") } else { String::new() };
    let Some(host) = read.host else {
        let also = if warnings > 0 { format!(" and {also}") } else { also };
        return Err(Failure::new(code, format!("{name} has {}{also}", file::count(errors, "error"))));
    };
    Out::open().write(&told(&host))?;
    if warnings > 0 {
        out::say(when, &format!("{name} is right, with {also}"));
    }
    Ok(code)
}

fn told(host: &HostFile) -> String {
    let HostFile { cluster, name, mesh, labels, lease, renew, guard, stop_before, settle, store, env } = host;
    let mut text = format!(
        "host {name} of the cluster {cluster}\n\n\
         lease        {lease}: others leave alone what runs here for so long after a renewal\n\
         renew        {}\n\
         stop-before  asked to stop after {} without a renewal\n\
         guard        killed after {}\n\
         settle       {settle}\n\
         store        {} at {}\n",
        renew.decimal(),
        in_millis(*lease - *guard - *stop_before),
        in_millis(*lease - *guard),
        store.kind.word(),
        store.endpoints.join(", "),
    );
    if let Some(at) = host.member() {
        let [clients, peers] = at.listens();
        let runs = match files::in_path("etcd") {
            Some(program) => program.display().to_string(),
            None => "THERE IS NO etcd IN PATH: apt install etcd-server".to_owned(),
        };
        text.push_str(&format!("             a member of it runs here, at {clients} and {peers}: {runs}\n"));
        if store.witness {
            text.push_str("             a witness: nothing is ever placed here\n");
        }
    } else if store.run.is_some() {
        text.push_str("             which other hosts of the cluster run\n");
    }
    if let Some(MeshFile { listen, address }) = mesh {
        text.push_str(&format!("listen       {listen}: other hosts find it at {address}\n"));
    }
    if !labels.is_empty() {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        text.push_str(&format!("labels       {}\n", labels.join(", ")));
    }
    if !env.is_empty() {
        let names: Vec<_> = env.keys().map(String::as_str).collect();
        text.push_str(&format!("env          {}\n", names.join(", ")));
    }
    text
}

fn host_json(host: &HostFile) -> Value {
    let HostFile { cluster, name, mesh, labels, lease, renew, guard, stop_before, settle, store, env } = host;
    json!({
        "cluster": cluster,
        "name": name,
        "listen": mesh.as_ref().map(|mesh| &mesh.listen),
        "address": mesh.as_ref().map(|mesh| &mesh.address),
        "labels": labels,
        "lease_ms": lease.as_millis(),
        "renew_ms": renew.as_millis(),
        "guard_ms": guard.as_millis(),
        "stop_before_ms": stop_before.as_millis(),
        "settle_ms": settle.as_millis(),
        "store": { "kind": store.kind.word(), "endpoints": store.endpoints, "run": store.run },
        "env": env.keys().collect::<Vec<_>>(),
    })
}

fn in_millis(span: Span) -> String {
    Span::from_millis(span.as_millis()).decimal()
}
