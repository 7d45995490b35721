//! `treevisor web`: the console in the browser.

use super::failure::{ExitCode, Failure};
use super::options::{ColorMode, Target};
#[cfg(feature = "web")]
use super::{
    options::timestamp,
    out::{self, Out},
    render::{self, Look, cpu::Shares},
    zone::Zone,
};
use crate::spec::listen::Address;
#[cfg(feature = "web")]
use crate::{
    control::FindError,
    error::Chain,
    web::{self, Access, Config, PublicUrl, Texts, WebError},
    wire::view::StatusView,
};
use clap::Args;

/// Serve the console: the tree in a browser
///
/// Shows the tree, what happens in it and what its workers print, and lets those who have the key act on it. Prints a
/// link that logs in, once and within ten minutes. It waits for an instance that does not run yet, and goes on with its
/// next run. Run it by hand, by systemd, or as a worker of the tree that it shows.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Who may do what: the key for acting lets its bearer stop, start, restart, reset and panic; the one
for looking on nothing of that. A link logs in once. In front of a TCP port stands nothing but
keys; a UNIX socket lets root and the user of the console in without one.

Examples:
  treevisor web                                   on this machine, at http://127.0.0.1:8808
  treevisor web --url                             a new link to the console that runs
  treevisor web --url --view                      a link for looking on
  treevisor web --listen unix:/run/shop/web.sock  for `ssh -L 8808:/run/shop/web.sock host`
  treevisor web --public-url https://ops.example/shop/    behind a proxy that has TLS
  treevisor web --new-keys                        all links, keys and sessions end

Exit codes:
  0  ended by a signal
  1  cannot listen, or cannot use the keys; of --url: no console of the instance runs
  2  wrong usage
  3  of --url and --new-keys: no instance is named, and none runs
")]
pub struct Web {
    #[command(flatten)]
    pub target: Target,
    /// Listen here; may be repeated
    #[arg(long, value_name = "ADDR:PORT|unix:PATH", value_parser = address, default_value = "127.0.0.1:8808")]
    pub listen: Vec<Address>,
    /// How browsers reach it, where that is not the address it listens on
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Listen without TLS on an address that other machines reach
    #[arg(long)]
    pub plain_http: bool,
    /// Let none act, whatever the key
    #[arg(long)]
    pub read_only: bool,
    /// Serve /metrics and /healthz, and no pages
    #[arg(long)]
    pub no_pages: bool,
    /// Let all who can connect read /metrics, without a key
    #[arg(long)]
    pub open_metrics: bool,
    /// Print a link to the console that runs, and start none
    #[arg(long, conflicts_with_all = ["listen", "public_url", "plain_http", "read_only", "no_pages", "open_metrics"])]
    pub url: bool,
    /// With --url: a link for looking on
    #[arg(long, requires = "url")]
    pub view: bool,
    /// Throw away all keys and sessions, print the new keys, and start none
    #[arg(long, conflicts_with_all = ["url", "listen", "public_url", "plain_http", "read_only", "no_pages", "open_metrics"])]
    pub new_keys: bool,
}

fn address(text: &str) -> Result<Address, String> {
    if text.starts_with('@') {
        return Err("a name that is no file can be taken by any user; use unix:PATH".into());
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return Address::parse(path)
            .ok()
            .filter(|address| matches!(address, Address::Unix(_)))
            .or_else(|| (!path.is_empty()).then(|| Address::Unix(path.into())))
            .ok_or_else(|| "a path is expected behind unix:".into());
    }
    match text.parse() {
        Ok(address) => Ok(Address::Tcp(address)),
        Err(_) => Err("ADDRESS:PORT with a number as address is expected, or unix:PATH".into()),
    }
}

#[cfg(not(feature = "web"))]
pub(super) fn run(_: Web, _: ColorMode) -> Result<ExitCode, Failure> {
    Err(Failure::new(ExitCode::Failed, "cannot serve the console: it is not compiled into this program")
        .hint("build it with the feature `web`, which is on by default"))
}

#[cfg(feature = "web")]
pub(super) fn run(args: Web, _: ColorMode) -> Result<ExitCode, Failure> {
    let instance = args.target.instance.as_deref();
    if args.url {
        let may = if args.view { Access::View } else { Access::Act };
        Out::open()
            .write(&format!("{}\n", web::link(instance, may).map_err(|error| failed("print a link", error))?))?;
        return Ok(ExitCode::Done);
    }
    if args.new_keys {
        let (view, act) = web::renew(instance).map_err(|error| failed("make new keys", error))?;
        Out::open().write(&format!("view {view}\nact {act}\n"))?;
        return Ok(ExitCode::Done);
    }
    let public_url = args.public_url.as_deref().map(PublicUrl::parse).transpose().map_err(|error| {
        Failure::new(ExitCode::Usage, format!("cannot use this --public-url: {error}"))
            .hint("as in --public-url https://ops.example/shop/")
    })?;
    let covered = args.plain_http || public_url.as_ref().is_some_and(PublicUrl::is_https);
    if let Some(open) = args.listen.iter().find(|address| !covered && is_open(address)) {
        let message = format!("cannot listen on {open}: other machines reach it, and would send keys in clear");
        return Err(Failure::new(ExitCode::Usage, message)
            .hint("put a proxy with TLS in front and name it with --public-url https://…, or say --plain-http"));
    }
    let config = Config {
        instance: args.target.instance.clone(),
        listen: args.listen,
        public_url,
        read_only: args.read_only,
        no_pages: args.no_pages,
        open_metrics: args.open_metrics,
        supervised: std::env::var_os(treevisor_client::ENDPOINT).is_some(),
        texts: Texts { plain, moment: at, print, say },
    };
    web::serve(config).map_err(|error| failed("serve the console", error))?;
    Ok(ExitCode::Done)
}

#[cfg(feature = "web")]
fn is_open(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if !address.ip().to_canonical().is_loopback())
}

#[cfg(feature = "web")]
fn failed(doing: &str, error: WebError) -> Failure {
    let code = match error {
        WebError::Find(FindError::NoneRuns { .. }) => ExitCode::NoInstance,
        WebError::Find(_) => ExitCode::Usage,
        _ => ExitCode::Failed,
    };
    let message = format!("cannot {doing}: {}", Chain(&error));
    match error {
        WebError::NotRunning(name) => Failure::new(code, message)
            .hint(format!("start one with `treevisor web -i {name}`: it prints a link itself, and no --url is needed")),
        WebError::Find(FindError::NoneRuns { .. }) => {
            Failure::new(code, message).hint("name an instance that is known, with --instance NAME")
        }
        WebError::NoPages(_) => Failure::new(code, message).hint("start it without --no-pages"),
        WebError::Listen(_) => Failure::new(code, message).hint("choose another address with --listen"),
        WebError::Find(_) => {
            Failure::new(code, message).hint("say which one, with --instance NAME or TREEVISOR_INSTANCE")
        }
        WebError::NoState | WebError::Keys(_) | WebError::System(_) => Failure::new(code, message),
    }
}

#[cfg(feature = "web")]
fn plain(status: &StatusView) -> String {
    render::status(status, &Shares::default(), Look::PLAIN)
}

#[cfg(feature = "web")]
fn at(text: &str) -> Result<String, String> {
    timestamp(text).map(|timestamp| timestamp.at(Zone::Utc))
}

#[cfg(feature = "web")]
fn print(line: &str) {
    // A write error is ignored: the console serves also without a reader of its output.
    let _ = Out::open().write(&format!("{line}\n"));
}

#[cfg(feature = "web")]
fn say(line: &str) {
    out::say(ColorMode::Auto, line);
}
