//! Which hosts belong to a cluster: its first host, the keys of further ones, and that those of a host are not taken any more.
//!
//! The serial of a certificate is drawn from the record `cluster`, by compare-and-swap, so none is issued twice; that of a certificate
//! which was never written is lost, and that is all. Files are written aside, and put in their place when the store has agreed: none
//! that is there is written over.

use super::agent::way_to;
use super::identity::keys::draw_curve;
use super::identity::{Certificate, Keys, SigningKey, key_file};
use crate::error::Chain;
use crate::hosts::record::{self, Cluster, Host, HostState, Key};
use crate::ids::Name;
use crate::os::clock;
use crate::spec::host::{self, HostFile, StoreFile};
use crate::store::{Answer, Ask, Store, Version};
use crate::time::Span;
use crate::wire::member::{MemberAsk, MemberTold, NewHost};
use std::error::Error;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// So long the store is waited for.
const ANSWER: Span = Span::from_secs(5);

/// So often another one may change the record before ours.
const TRIES: u32 = 10;

/// A question is no longer.
const ASK_MAX: u64 = 1 << 20;

/// What is wrong, and what would be right.
#[derive(Debug)]
struct Failed {
    message: String,
    hint: Option<&'static str>,
}

impl Failed {
    fn new(message: impl Into<String>) -> Failed {
        Failed { message: message.into(), hint: None }
    }

    fn hint(self, hint: &'static str) -> Failed {
        Failed { hint: Some(hint), ..self }
    }

    fn of(error: &(dyn Error + 'static)) -> Failed {
        Failed::new(Chain(error).to_string())
    }

    fn disk(doing: &str, path: &Path, error: &io::Error) -> Failed {
        Failed::new(format!("cannot {doing} {}: {error}", path.display()))
    }
}

type Lines = Result<Vec<String>, Failed>;

/// Opens the way to a host's store.
type Way<'a> = &'a dyn Fn(&HostFile) -> Result<Box<dyn Store>, Box<dyn Error>>;

/// Answers the question on standard input. Returns the exit status.
pub fn run() -> i32 {
    let mut text = String::new();
    let ask = io::stdin().take(ASK_MAX).read_to_string(&mut text).map_err(|error| error.to_string());
    let told = match ask.and_then(|_| serde_json::from_str(&text).map_err(|error| error.to_string())) {
        Ok(ask) => told(answer(&ask, &way_to)),
        Err(error) => MemberTold::Failed { message: format!("the question cannot be read: {error}"), hint: None },
    };
    let done = matches!(told, MemberTold::Done { .. });
    let text = serde_json::to_vec(&told).expect("it is text throughout");
    i32::from(io::stdout().write_all(&text).is_err() || !done)
}

fn told(lines: Lines) -> MemberTold {
    match lines {
        Ok(lines) => MemberTold::Done { lines },
        Err(Failed { message, hint }) => MemberTold::Failed { message, hint: hint.map(str::to_owned) },
    }
}

fn answer(ask: &MemberAsk, way: Way<'_>) -> Lines {
    match ask {
        MemberAsk::Init { file, new } => init(file, new.as_ref(), way),
        MemberAsk::Add { file, name, to } => add(file, name, to, way),
        MemberAsk::Remove { file, name } => remove(file, name, way),
    }
}

fn init(file: &Path, new: Option<&NewHost>, way: Way<'_>) -> Lines {
    let key_file = key_file(file);
    absent(&key_file, "this host has its keys already")?;
    let (host, composed) = match new {
        None => (read_host(file, file)?, None),
        Some(new) => {
            absent(file, "this machine is a host already")?;
            let composed = Aside::write(file, &text_of(new), 0o644)?;
            (read_host(&composed.path, file)?, Some(composed))
        }
    };
    let mut store = Cell::open(&host, way)?;
    let (version, before) = store.read()?.unzip();
    if before.is_some() && store.has_hosts()? {
        return Err(Failed::new(format!("the store has a cluster {} already, with hosts", host.cluster))
            .hint("on one of them `treevisor host add NAME` makes the keys of a further one; or take another name"));
    }
    let before = before.unwrap_or_default();
    let signing = SigningKey::draw().map_err(|error| Failed::of(&error))?;
    let serial = before.serial + 1;
    let keys = keys(&host.cluster, &host.name, serial, signing)?;
    let mut cluster = Cluster {
        name: host.cluster.clone(),
        created: clock::wall_nanos(clock::wall()) / 1_000_000,
        issuer: keys.signing.issuer(),
        serial,
        ..before
    };
    cluster.issued = [(host.name.clone(), [serial].into())].into();
    let written = Aside::write(&key_file, &keys.text(), 0o600)?;
    // One that was made and has no host was left by a call that was interrupted; nothing was certified by its key that is in use.
    if !store.swap(version, &cluster)? {
        return Err(Failed::new(format!("another host has just made the cluster {}", host.cluster)));
    }
    let mut lines = vec![format!("{} is the first host of the cluster {}", host.name, host.cluster)];
    written.put()?;
    lines.push(format!("wrote {}: its keys, and the cluster's; keep it secret", key_file.display()));
    if let Some(composed) = composed {
        composed.put()?;
        lines.push(format!("wrote {}", file.display()));
    }
    Ok(lines)
}

fn add(file: &Path, name: &str, to: &Path, way: Way<'_>) -> Lines {
    let (host, own) = member(file)?;
    if Name::parse(name).is_err() {
        return Err(Failed::new(format!("{name:?} is no name of a host")).hint("write 1 to 32 of a-z 0-9 and -"));
    }
    absent(to, "nothing is written over it")?;
    let mut store = Cell::open(&host, way)?;
    let serial = store.change(&own.signing, |cluster| {
        cluster.serial += 1;
        cluster.issued.entry(name.to_owned()).or_default().insert(cluster.serial);
        cluster.serial
    })?;
    Aside::write(to, &keys(&host.cluster, name, serial, own.signing)?.text(), 0o600)?.put()?;
    Ok(vec![
        format!("wrote {}: the keys of the host {name}, by certificate {serial}", to.display()),
        format!("bring it to {name} as host.key beside its host.toml, with mode 600, and remove it here"),
    ])
}

fn remove(file: &Path, name: &str, way: Way<'_>) -> Lines {
    let (host, own) = member(file)?;
    if name == host.name {
        return Err(Failed::new(format!("{name} is this host")).hint("remove it on another one"));
    }
    let mut store = Cell::open(&host, way)?;
    // What runs there by its lease ends with its agent, and not with its keys.
    if store.host(name)?.is_some_and(|record| record.state == HostState::Live) {
        return Err(Failed::new(format!("{name} renews its lease, or it did until lately"))
            .hint("stop its agent first; of one that is off, `treevisor host forget NAME --it-is-dead` records that"));
    }
    let revoked = store.change(&own.signing, |cluster| {
        let serials = cluster.issued.remove(name).unwrap_or_default();
        cluster.revoked.extend(&serials);
        serials
    })?;
    if revoked.is_empty() {
        return Err(Failed::new(format!("no certificate of {name} is in force")));
    }
    let serials: Vec<_> = revoked.iter().map(u64::to_string).collect();
    let mut lines =
        vec![format!("{name} is no host of {} any more: revoked certificate {}", host.cluster, serials.join(", "))];
    lines.push(
        "it can still write the store as long as that lets it: take its certificate of etcd away, too".to_owned(),
    );
    Ok(lines)
}

/// This host, which has keys.
fn member(file: &Path) -> Result<(HostFile, Keys), Failed> {
    let host = read_host(file, file)?;
    let path = key_file(file);
    let keys = Keys::read(&path).map_err(|error| Failed::of(&error))?;
    let none = || {
        Failed::new(format!("this host has no keys: there is no {}", path.display()))
            .hint("`treevisor host init` makes those of the first host, and `host add` there those of others")
    };
    Ok((host, keys.ok_or_else(none)?))
}

/// Reads a host's file, which is called otherwise in what is reported.
fn read_host(file: &Path, called: &Path) -> Result<HostFile, Failed> {
    let read = host::read(file, &|name| std::env::var(name).ok());
    let wrong = read.diagnostics.iter().find(|found| found.is_error()).map(ToString::to_string);
    read.host.ok_or_else(|| {
        let wrong = wrong.unwrap_or_default().replace(&*file.to_string_lossy(), &called.to_string_lossy());
        Failed::new(wrong).hint("`treevisor host check` shows where, where the file is there")
    })
}

fn text_of(new: &NewHost) -> String {
    let NewHost { cluster, name, address, endpoints, ca, cert, key } = new;
    let store = StoreFile {
        endpoints: endpoints.clone(),
        ca: ca.clone(),
        cert: cert.clone(),
        key: key.clone(),
        ..StoreFile::default()
    };
    host::new::text(cluster, name, address.as_deref(), &store)
}

/// New keys, with a certificate of this serial.
fn keys(cluster: &str, name: &str, serial: u64, signing: SigningKey) -> Result<Keys, Failed> {
    let curve = draw_curve().map_err(|error| Failed::of(&error))?;
    let certificate =
        Certificate { cluster: cluster.to_owned(), name: name.to_owned(), public: curve.public.clone(), serial };
    let cert = certificate.sign(&signing).ok_or_else(|| Failed::new(format!("{name:?} is no name of a host")))?;
    Ok(Keys { curve, signing, cert })
}

fn absent(path: &Path, why: &str) -> Result<(), Failed> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failed::disk("look for", path, &error)),
        Ok(_) => Err(Failed::new(format!("{} is there: {why}", path.display()))),
    }
}

/// The records of one cluster.
struct Cell {
    store: Box<dyn Store>,
    cluster: String,
}

impl Cell {
    fn open(host: &HostFile, way: Way<'_>) -> Result<Cell, Failed> {
        let store = way(host).map_err(|error| Failed::new(error.to_string()))?;
        Ok(Cell { store, cluster: host.cluster.clone() })
    }

    fn ask(&mut self, ask: &Ask) -> Answer {
        self.store.ask(ask, ANSWER)
    }

    /// The record with this key.
    fn one(&mut self, key: &Key) -> Result<Option<(Version, Vec<u8>)>, Failed> {
        let key = key.in_store(&self.cluster);
        match self.ask(&Ask::Read { prefix: key.clone() }) {
            Answer::Records(all) => {
                Ok(all.into_iter().find(|record| record.key == key).map(|record| (record.version, record.value)))
            }
            answer => Err(no_answer(answer)),
        }
    }

    fn read(&mut self) -> Result<Option<(Version, Cluster)>, Failed> {
        let found = self.one(&Key::Cluster)?;
        let read = |(version, value): (Version, Vec<u8>)| Ok((version, record::read(&value)?));
        found.map(read).transpose().map_err(|error: record::RecordError| Failed::of(&error))
    }

    fn host(&mut self, name: &str) -> Result<Option<Host>, Failed> {
        let found = self.one(&Key::Host(name.to_owned()))?;
        found.map(|(_, value)| record::read(&value)).transpose().map_err(|error| Failed::of(&error))
    }

    /// Whether a host of this cluster was ever there.
    fn has_hosts(&mut self) -> Result<bool, Failed> {
        let prefix = record::prefix(&self.cluster);
        match self.ask(&Ask::Read { prefix }) {
            Answer::Records(all) => {
                let cluster = &self.cluster;
                Ok(all.iter().any(|record| matches!(Key::parse(cluster, &record.key), Some(Key::Host(_)))))
            }
            answer => Err(no_answer(answer)),
        }
    }

    /// Writes the record of the cluster if it has this version. Whether it has.
    fn swap(&mut self, expected: Option<Version>, cluster: &Cluster) -> Result<bool, Failed> {
        let new = record::write(cluster).map_err(|error| Failed::of(&error))?;
        let key = Key::Cluster.in_store(&self.cluster);
        match self.ask(&Ask::Swap { key, expected, new }) {
            Answer::Done(_) => Ok(true),
            Answer::Lost(_) | Answer::Unknown(_) => {
                // A question that was sent twice is lost to itself, and one without an answer may have been carried out.
                Ok(self.read()?.is_some_and(|(_, found)| found == *cluster))
            }
            answer => Err(no_answer(answer)),
        }
    }

    /// Changes the record of the cluster, which has to be that of this key.
    fn change<T>(&mut self, signing: &SigningKey, mut change: impl FnMut(&mut Cluster) -> T) -> Result<T, Failed> {
        for _ in 0..TRIES {
            let Some((version, mut cluster)) = self.read()? else {
                return Err(Failed::new(format!("the store has no record of the cluster {}", self.cluster))
                    .hint("`treevisor host init` writes it, on the first host"));
            };
            if cluster.issuer != signing.issuer() {
                return Err(Failed::new(format!("the keys of this host are of another cluster {}", self.cluster))
                    .hint("its store holds a cluster of the same name that was made by another `host init`"));
            }
            let done = change(&mut cluster);
            if self.swap(Some(version), &cluster)? {
                return Ok(done);
            }
        }
        Err(Failed::new("the record of the cluster is changed by others all the time").hint("try again"))
    }
}

fn no_answer(answer: Answer) -> Failed {
    let why = match answer {
        Answer::Unknown(why) => why,
        _ => "it has answered something else".into(),
    };
    Failed::new(format!("the store does not answer: {why}"))
}

/// A file that is written beside its place. Dropped before it was put there, it is removed.
struct Aside {
    path: PathBuf,
    place: PathBuf,
}

impl Aside {
    fn write(place: &Path, text: &str, mode: u32) -> Result<Aside, Failed> {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let aside = Aside { path: place.with_file_name(name), place: place.to_owned() };
        let written = || -> io::Result<()> {
            if let Some(above) = place.parent().filter(|above| !above.as_os_str().is_empty()) {
                DirBuilder::new().recursive(true).mode(0o755).create(above)?;
            }
            let _ = fs::remove_file(&aside.path);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside.path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        written().map_err(|error| Failed::disk("write", place, &error))?;
        Ok(aside)
    }

    /// Puts it in its place, where nothing is.
    fn put(self) -> Result<(), Failed> {
        fs::hard_link(&self.path, &self.place).map_err(|error| Failed::disk("write", &self.place, &error))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
