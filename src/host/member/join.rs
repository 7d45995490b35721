//! A machine becomes a host of a cluster by an invitation: what the machine sends, and how the inviting host answers.

use super::cell::{Cell, certificate, is_name, issue, may_issue};
use super::failed::{Failed, Lines};
use super::files::{Aside, absent, read_host, text_of};
use crate::error::Chain;
use crate::host::etcd;
use crate::host::identity::keys::draw_curve;
use crate::host::identity::{Keys, Signers, SigningKey, Trust, key_file, verify};
use crate::host::known;
use crate::host::store_opener::StoreOpener;
use crate::hosts::record::Cluster;
use crate::ids::Token;
use crate::link::curve::{ConnectionState, CurveDealer, Limits};
use crate::link::{Context, KeyPair, PublicKey};
use crate::os::clock::{self, Clock};
use crate::spec::host::HostFile;
use crate::spec::host::member::client_url;
use crate::time::{Span, Time};
use crate::wire::member::{NewHost, Newcomer};
use crate::wire::tvh1::header::{Join, Welcome};
use crate::wire::tvh1::{self, FRAME_MAX, FRAMES_MAX, Kind, Message};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use std::fmt;
use std::fs;
use std::path::Path;

/// Limit for reaching the other host.
const REACH: Span = Span::from_secs(5);

/// Limit for its answer: it has to ask the store.
const ANSWER: Span = Span::from_secs(30);

/// The interval between checks for an answer.
const LOOK: Span = Span::from_millis(10);

/// An invitation: the address of the inviting host, the key by which that host is recognized, and a token that proves
/// the invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invitation {
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// The public key of the inviting host.
    pub(crate) key: PublicKey,
    /// The inviting host keeps only its hash.
    pub(crate) token: Token,
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.address, BASE64.encode(self.key.bytes()), self.token)
    }
}

impl Invitation {
    /// Reads the line of an invitation; `None`: it is malformed or incomplete.
    fn parse(line: &str) -> Option<Invitation> {
        let mut parts = line.trim().rsplitn(3, '/');
        let token = Token::parse(parts.next()?.as_bytes())?;
        let key = BASE64.decode(parts.next()?).ok()?.try_into().ok()?;
        let address = parts.next().filter(|address| address.contains(':'))?;
        Some(Invitation { address: address.to_owned(), key: PublicKey::of(key), token })
    }
}

/// A machine that asks to become a host.
pub(in crate::host) struct JoinRequest<'a> {
    /// The name that it asks for.
    pub(in crate::host) name: &'a str,
    /// Of the key that it has drawn for itself.
    pub(in crate::host) public: PublicKey,
    /// Whether it has etcd, and can run a member of the store.
    pub(in crate::host) etcd: bool,
    /// Whether it asks to be a witness: a member of the store, and nothing else.
    pub(in crate::host) witness: bool,
}

/// Certifies the machine's key as that of a host. Returns the answer for the machine.
pub(in crate::host) fn admit(
    host: &HostFile,
    signers: &Signers,
    request: &JoinRequest<'_>,
    opener: StoreOpener<'_>,
) -> Join {
    match admitted(host, signers, request, opener) {
        Ok(welcome) => Join::Welcome(Box::new(welcome)),
        Err(Failed { message, hint: None, .. }) => Join::Refused { why: message },
        Err(Failed { message, hint: Some(hint), .. }) => Join::Refused { why: format!("{message}: {hint}") },
    }
}

fn admitted(
    host: &HostFile,
    signers: &Signers,
    JoinRequest { name, public, etcd, witness }: &JoinRequest<'_>,
    opener: StoreOpener<'_>,
) -> Result<Welcome, Failed> {
    is_name(name)?;
    let ca = host.store.ca.as_ref().map(|ca| fs::read_to_string(ca).map_err(|error| Failed::disk("read", ca, &error)));
    let ca = ca.transpose()?;
    let mut store = Cell::open(host, signers, opener)?;
    let has_record = store.host(name)?.is_some();
    let issued = store.change(signers, |cluster| {
        may_issue(cluster)?;
        if !is_free(name, cluster, has_record) {
            return Err(Failed::new(format!("the cluster {} has a host {name} already", host.cluster))
                .hint("give another name by --name, or have `treevisor host remove` take that one away first"));
        }
        let run = host.store.run.map(|_| has_member(name, cluster));
        if *witness && run != Some(true) {
            let why = match run {
                Some(_) => format!("its store has {} members already", cluster.seats()),
                None => "its store is run by other means".to_owned(),
            };
            return Err(Failed::new(format!("a witness votes by its member of the store, and {why}"))
                .hint("leave out --witness: what is not to be placed on that host is kept from it by `placement`"));
        }
        if run == Some(true) && !etcd {
            let first = cluster.seats();
            return Err(Failed::new(format!(
                "the first {first} hosts of this cluster run its store, and that machine has no etcd"
            ))
            .hint("`apt install etcd-server` there, and then the same line again"));
        }
        if run == Some(true) {
            cluster.members.insert((*name).to_owned());
        }
        Ok((issue_alone(name, cluster), run))
    })?;
    let (serial, run) = issued?;
    Ok(Welcome {
        cluster: host.cluster.clone(),
        cert: certificate(&host.cluster, name, serial, &signers.by, public)?,
        signing: signers.by.clone().into(),
        endpoints: known::endpoints(host),
        ca,
        wants_cert: host.store.cert.is_some(),
        run,
    })
}

/// Whether a host that joins runs a member of the store: while the store has fewer members than it is to have.
fn has_member(name: &str, cluster: &Cluster) -> bool {
    cluster.members.contains(name) || cluster.members.len() < cluster.seats()
}

/// A name without a record of a host is free: a certificate for it is left from a failed join.
fn is_free(name: &str, cluster: &Cluster, has_record: bool) -> bool {
    !has_record || !cluster.issued.contains_key(name)
}

/// Draws the next serial for this host, and revokes all others of it.
fn issue_alone(name: &str, cluster: &mut Cluster) -> u64 {
    let before = cluster.issued.remove(name).unwrap_or_default();
    cluster.revoked.extend(before);
    issue(name, cluster)
}

/// Makes this machine a host, by an invitation.
pub(super) fn join(file: &Path, new: &Newcomer, opener: StoreOpener<'_>) -> Lines {
    let Newcomer { line, name, address, witness, .. } = new;
    let invitation = Invitation::parse(line).ok_or_else(|| {
        Failed::new("the line is no invitation")
            .hint("`treevisor host invite` on a host of the cluster shows it: copy it whole")
    })?;
    let key_file = key_file(file);
    absent(&key_file, "this machine has the keys of a host already")?;
    absent(file, "this machine is a host already")?;
    is_usable(file, name, address)?;
    etcd::no_earlier_data().map_err(Failed::new)?;
    // An unwritable place is found before a certificate is issued.
    Aside::write(&key_file, "", 0o600)?;
    let curve = draw_curve().map_err(|error| Failed::of(&error))?;
    let welcome = ask(&invitation, name, &curve, *witness)?;
    if *witness && welcome.run != Some(true) {
        return Err(Failed::new("a witness votes by its member of the store, and this host would have none")
            .hint("the store has its members already, or is run by other means; the invitation is used up"));
    }
    let signing = SigningKey::try_from(welcome.signing.clone()).map_err(Failed::new)?;
    let trust = Trust { cluster: &welcome.cluster, name, issuers: &[*signing.public()], revoked: &[] };
    let certified =
        verify(&welcome.cert, &trust).map_err(|why| Failed::new(format!("the host has answered wrongly: {why}")))?;
    if certified.public != curve.public {
        return Err(Failed::new("the host has certified another key"));
    }
    let keys = Keys { curve, signing: signing.clone(), also: None, cert: welcome.cert.clone() };
    let ca_file = welcome.ca.as_ref().map(|_| file.with_file_name("store-ca.pem"));
    let ca = welcome.ca.iter().zip(&ca_file).map(|(ca, path)| Aside::write(path, ca, 0o644)).next().transpose()?;
    let own = (welcome.run == Some(true)).then(|| client_url(address));
    let text = text_of(&NewHost {
        cluster: welcome.cluster.clone(),
        name: name.clone(),
        address: Some(address.clone()),
        endpoints: own.into_iter().chain(welcome.endpoints.iter().cloned()).collect(),
        ca: ca_file.clone(),
        // A store that hosts run has certificates of its own.
        cert: new.cert.clone().filter(|_| welcome.run.is_none()),
        key: new.key.clone().filter(|_| welcome.run.is_none()),
        run: welcome.run,
        witness: *witness,
    });
    let composed = Aside::write(file, &text, 0o644)?;
    let written = Aside::write(&key_file, &keys.text(), 0o600)?;
    let mut lines =
        vec![format!("{name} is a host of the cluster {}, by certificate {}", welcome.cluster, certified.serial)];
    if let (Some(ca), Some(path)) = (ca, &ca_file) {
        ca.put()?;
        lines.push(format!("wrote {}: the authority of the store", path.display()));
    }
    written.put()?;
    lines.push(format!("wrote {}: its keys; keep it secret", key_file.display()));
    composed.put()?;
    lines.push(format!("wrote {}", file.display()));
    if welcome.run == Some(true) {
        lines.push(
            "its member of the store is added once this host runs; `treevisor hosts` shows what the store bears"
                .to_owned(),
        );
    }
    is_reached(file, &welcome, new, &|file| Cell::open(file, &signing.clone().into(), opener)?.read().map(drop))?;
    Ok(lines)
}

/// Checks the name and the address by reading a file that has them, before the invitation is used up for a host that
/// could not run.
fn is_usable(file: &Path, name: &str, address: &str) -> Result<(), Failed> {
    is_name(name).map_err(|failed| failed.hint("name it by --name: 1 to 32 of a-z 0-9 and -"))?;
    let draft = NewHost {
        cluster: name.to_owned(),
        name: name.to_owned(),
        address: Some(address.to_owned()),
        endpoints: vec![client_url(address)],
        // The authority of the store is not known yet.
        run: Some(false),
        ..NewHost::default()
    };
    let draft = Aside::write(file, &text_of(&draft), 0o644)?;
    read_host(&draft.path, file).map(drop).map_err(|Failed { message, .. }| {
        Failed::new(format!("a host cannot have the address {address:?}: {message}"))
            .hint("give the address by --address: HOST or HOST:PORT")
    })
}

/// Checks that the store answers this machine.
fn is_reached(
    file: &Path,
    welcome: &Welcome,
    new: &Newcomer,
    read: &dyn Fn(&HostFile) -> Result<(), Failed>,
) -> Result<(), Failed> {
    read_host(file, file).and_then(|host| read(&host)).map_err(|failed| {
        let message = format!(
            "it is a host now, and {} is written, but of the store at {} it needs an answer to be of use: {}",
            file.display(),
            welcome.endpoints.join(", "),
            failed.message
        );
        let hint = if welcome.wants_cert && new.cert.is_none() {
            "the store requires a certificate: name it in that file, as `cert` and `key` below [store]"
        } else {
            "see that these addresses are reached from here, or write others into that file"
        };
        Failed::new(message).hint(hint).done()
    })
}

/// Asks the inviting host to certify this machine's key.
fn ask(invitation: &Invitation, name: &str, curve: &KeyPair, witness: bool) -> Result<Welcome, Failed> {
    let Invitation { address, key, token } = invitation;
    let limits = Limits { frame_bytes_max: FRAME_MAX, frames_max: FRAMES_MAX };
    let context = Context::new().map_err(|error| Failed::of(&error))?;
    let keys = (curve.public.bytes(), curve.secret.bytes());
    let mut dealer = CurveDealer::connect(&context, &format!("tcp://{address}"), key.bytes(), keys, limits, 1)
        .map_err(|error| Failed::of(&error))?;
    let clock = Clock::start();
    let wait = |dealer: &mut CurveDealer, limit: Span, done: &mut dyn FnMut(&mut CurveDealer) -> bool| {
        let end = clock.now() + limit;
        while !done(dealer) && clock.now() < end {
            clock::pause(LOOK);
        }
    };
    wait(&mut dealer, REACH, &mut |dealer| dealer.state() != ConnectionState::None);
    match dealer.state() {
        ConnectionState::Up(_) => {}
        ConnectionState::Refused => {
            return Err(Failed::new(format!("the host at {address} does not let this machine in"))
                .hint("the invitation is over or was used, or its line is not whole: have `treevisor host invite` make another one"));
        }
        ConnectionState::None => {
            return Err(Failed::new(format!("the host at {address} is not reached within {}", REACH.coarse()))
                .hint("see that its agent runs, that the address is right as seen from here, and that no firewall closes the port"));
        }
    }
    let message = Message::new(
        Kind::Join,
        &Join::Ask { token: *token, name: name.to_owned(), etcd: etcd::program().is_ok(), witness },
        Vec::new(),
    );
    let message = message.map_err(|error| Failed::new(Chain(&error).to_string()))?;
    let mut answer = None;
    if dealer.send(&tvh1::encode(&message, clock::both().boottime.since(Time::ZERO).as_millis())) {
        wait(&mut dealer, ANSWER, &mut |dealer| {
            answer = dealer.receive();
            answer.is_some() || !matches!(dealer.state(), ConnectionState::Up(_))
        });
    }
    let none = || {
        Failed::new(format!("the host at {address} has not answered"))
            .hint("its log has why: `treevisor logs -i host /agent` there; the invitation may be used again where nothing was certified")
    };
    let answer = tvh1::decode(answer.ok_or_else(none)?).map_err(|error| Failed::new(Chain(&error).to_string()))?;
    match answer.header::<Join>() {
        Ok(Join::Welcome(welcome)) => Ok(*welcome),
        Ok(Join::Refused { why }) => Err(Failed::new(format!("the host at {address} refuses: {why}"))),
        _ => Err(Failed::new(format!("the host at {address} has answered something else"))
            .hint("both should be of the same version of treevisor")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::member::MemberReply;

    #[test]
    fn an_invitation_reads_as_it_is_written_and_a_part_of_it_does_not() {
        for address in ["10.0.0.1:7411", "a.example:81", "[fd00::1]:7411"] {
            let invitation =
                Invitation { address: address.into(), key: PublicKey::of([9; 32]), token: Token([255; 16]) };
            let line = invitation.to_string();
            assert_eq!(Invitation::parse(&format!(" {line}\n")), Some(invitation));
            for part in 1..line.len() {
                assert_eq!(Invitation::parse(&line[..part]), None);
            }
            assert!(line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:[]".contains(&byte)), "{line}");
        }
    }

    #[test]
    fn a_name_or_an_address_that_no_host_can_have_is_found_before_the_invitation_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |name: &str, address: &str| {
            let file = directory.path().join("host.toml");
            let refused = is_usable(&file, name, address).err().map(|failed| (failed.message, failed.hint.unwrap()));
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
            refused
        };
        for address in ["10.0.0.3", "10.0.0.3:7411", "c.example", "[fd00::3]", "[fd00::3]:81"] {
            assert_eq!(refused("db-1", address), None);
        }
        for name in ["db_1", "Db", "db.1", "", &"x".repeat(33)] {
            let (message, hint) = refused(name, "10.0.0.3").unwrap();
            assert!(message.contains("no name of a host") && hint.contains("--name"), "{message}");
        }
        for address in ["0.0.0.0", "10.0.0.3:x", "10.0.0.3:0", "10.0.0.3/24", ""] {
            let (message, hint) = refused("db-1", address).unwrap();
            let expected = format!("cannot have the address {address:?}: ");
            assert!(message.contains(&expected) && hint.contains("--address"), "{message}");
        }
    }

    #[test]
    fn a_machine_is_a_host_though_its_store_does_not_answer() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("host.toml");
        let new = Newcomer {
            line: String::new(),
            name: "c".into(),
            address: "10.0.0.3".into(),
            cert: None,
            key: None,
            witness: false,
        };
        let reached = |read: &dyn Fn(&HostFile) -> Result<(), Failed>| {
            is_reached(&file, &Welcome::default(), &new, read).map_err(MemberReply::from)
        };
        let endpoints = vec!["http://10.0.0.1:2379".to_owned()];
        let host = NewHost { cluster: "shop".into(), name: "c".into(), endpoints, ..NewHost::default() };
        fs::write(&file, text_of(&host)).unwrap();
        assert_eq!(reached(&|_| Ok(())), Ok(()));
        let silent = reached(&|_| Err(Failed::new("no answer")));
        assert!(matches!(silent, Err(MemberReply::Failed { is_done: true, .. })), "{silent:?}");
    }

    #[test]
    fn a_name_is_free_where_no_host_of_it_was_ever_there() {
        let mut cluster = Cluster::default();
        assert_eq!(issue_alone("b", &mut cluster), 1);
        assert!(is_free("b", &cluster, false), "a join that came to nothing");
        assert!(!is_free("b", &cluster, true));
        assert_eq!(issue_alone("b", &mut cluster), 2);
        assert_eq!((cluster.revoked.as_slice(), cluster.issued["b"].len()), ([1].as_slice(), 1));
        cluster.issued.clear();
        assert!(is_free("b", &cluster, true), "it was removed");
    }
}
