//! etcd as a store, by the JSON gateway of etcd over HTTP/1.1. Of etcd's features only the transaction that compares a
//! revision before a write is used: no leases, locks or watches.
//!
//! A request goes to one endpoint and, if that gives no conclusive answer, to the next, until the limit has passed.
//! Sending a read twice is harmless. A swap that an earlier endpoint has carried out already is answered with
//! [`Answer::Lost`] when it is sent again, as the version of the record has changed. The next request starts with the
//! endpoint that answered last, or with the one after the last that failed.
use super::{Answer, Ask, Health, Store};
use crate::time::{Span, Time};
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use ureq::http::Uri;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

pub mod members;
mod wire;

#[cfg(test)]
mod tests;

/// Limit for the body of an answer, in bytes: more than a thousand records of the largest size.
const ANSWER_MAX: u64 = 16 * 1024 * 1024;

/// No further endpoint is tried when less than this is left of the limit.
const LEAST: Span = Span::from_millis(20);

/// The certificates for `https` endpoints, as PEM: how an endpoint proves itself to this host, and this host to it.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The authorities that may have certified an endpoint. No other authority is trusted.
    pub ca: Vec<u8>,
    /// This host's certificate chain and its private key; `None`: connections are made without a client certificate.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

/// A client of etcd. A clone, for another thread, shares the endpoints and the certificates with the original.
#[derive(Debug, Clone)]
pub struct Etcd {
    endpoints: Endpoints,
    /// The index of the endpoint that is asked next.
    at: usize,
    /// The id of the etcd cluster that sent the first answer; answers of another cluster are refused.
    cluster: Arc<OnceLock<String>>,
    now: fn() -> Time,
}

/// The endpoints in the order in which they are tried, and the certificates for them. All clones of an [`Etcd`] share
/// them.
#[derive(Debug, Clone)]
pub struct Endpoints(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    endpoints: RwLock<Arc<Vec<String>>>,
    agent: RwLock<ureq::Agent>,
}

impl Endpoints {
    /// The addresses of the store's members, as last set.
    pub fn get(&self) -> Arc<Vec<String>> {
        Arc::clone(&self.0.endpoints.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the endpoints from the next request on. With an authority (see [`Endpoints::prove`]) all of them have
    /// to be `https`.
    pub fn set(&self, endpoints: Vec<String>) {
        *self.0.endpoints.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(endpoints);
    }

    /// Replaces the certificates from the next request on. Connections that are open are not used any more.
    ///
    /// # Errors
    /// For PEM that cannot be read.
    pub fn prove(&self, tls: &Tls) -> Result<(), EtcdError> {
        *self.0.agent.write().unwrap_or_else(PoisonError::into_inner) = agent(Some(tls))?;
        Ok(())
    }

    fn agent(&self) -> ureq::Agent {
        self.0.agent.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why the settings for etcd cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdError(String);

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EtcdError {}

impl Etcd {
    /// Makes a client for these endpoints, which are tried in this order. Nothing is connected yet. `now` is a clock
    /// that also counts while the machine is suspended.
    ///
    /// # Errors
    /// For an endpoint that is no `http://HOST:PORT` or `https://HOST:PORT`, for one by https without an authority, and
    /// for PEM that cannot be read.
    pub fn new(endpoints: &[String], tls: Option<&Tls>, now: fn() -> Time) -> Result<Etcd, EtcdError> {
        if endpoints.is_empty() {
            return Err(EtcdError("there is no endpoint of etcd; write one such as \"http://127.0.0.1:2379\"".into()));
        }
        let endpoints = endpoints.iter().map(|text| endpoint(text, tls.is_some())).collect::<Result<_, _>>()?;
        let shared = Shared { endpoints: RwLock::new(Arc::new(endpoints)), agent: RwLock::new(agent(tls)?) };
        Ok(Etcd { endpoints: Endpoints(Arc::new(shared)), at: 0, cluster: Arc::default(), now })
    }

    /// The endpoints: this handle replaces them, and the certificates, for all clones.
    pub fn endpoints(&self) -> Endpoints {
        self.endpoints.clone()
    }

    /// Asks one endpoint after the other until one answers or the limit has passed. Returns that answer, or each
    /// endpoint with the reason why it has not answered.
    fn each<T>(&mut self, limit: Span, ask: impl Fn(&Etcd, &str, Span) -> Result<T, String>) -> Result<T, String> {
        let until = (self.now)() + limit;
        let endpoints = self.endpoints.get();
        let mut failures: Vec<String> = Vec::new();
        for _ in 0..endpoints.len() {
            let left = until.since((self.now)());
            if left < LEAST && !failures.is_empty() {
                break;
            }
            let at = &endpoints[self.at % endpoints.len()];
            match ask(self, at, left) {
                Ok(answer) => return Ok(answer),
                Err(why) => failures.push(format!("{at}: {why}")),
            }
            self.at = (self.at + 1) % endpoints.len();
        }
        Err(failures.join("; "))
    }

    /// Sends one request to one endpoint. Returns a conclusive answer, or why there is none.
    fn try_one(&self, at: &str, ask: &Ask, limit: Span) -> Result<Answer, String> {
        let until = (self.now)() + limit;
        let left = || until.since((self.now)());
        let (from, answer) = match ask {
            Ask::Read { prefix } => {
                let body = self.post(at, "/v3/kv/range", &wire::range(prefix), limit);
                body.and_then(|body| wire::read_range(&body)).map(|(from, records)| (from, Answer::Records(records)))
            }
            Ask::Swap { key, expected, new } => {
                let body = self.post(at, "/v3/kv/txn", &wire::swap(key, *expected, new), limit);
                body.and_then(|body| wire::read_swap(&body, key))
            }
            Ask::Health => self.health(at, limit, left),
        }?;
        if *self.cluster.get_or_init(|| from.clone()) != from {
            return Err("it belongs to another cluster of etcd than the endpoint that was asked first".into());
        }
        Ok(answer)
    }

    fn health(&self, at: &str, limit: Span, left: impl Fn() -> Span) -> Result<(String, Answer), String> {
        let (from, version, size) = wire::read_status(&self.post(at, "/v3/maintenance/status", "{}", limit)?)?;
        let alarms = self.post(at, "/v3/maintenance/alarm", r#"{"action":"GET"}"#, left())?;
        // etcd publishes its quota only in its metrics. Some installations keep those from clients; the quota is
        // unknown then.
        let metrics = self.finish(self.limited(self.endpoints.agent().get(format!("{at}/metrics")), left()).call());
        let quota = metrics.ok().and_then(|text| wire::quota_in(&text));
        Ok((from, Answer::Health(Health { version, size, quota, alarms: wire::read_alarms(&alarms)? })))
    }

    fn post(&self, at: &str, path: &str, body: &str, limit: Span) -> Result<Vec<u8>, String> {
        self.finish(self.limited(self.endpoints.agent().post(format!("{at}{path}")), limit).send(body))
    }

    /// Bounds the whole request by the limit, and connecting by half of it: a request that could not even be sent
    /// leaves the other half for another endpoint.
    fn limited<Any>(&self, request: ureq::RequestBuilder<Any>, limit: Span) -> ureq::RequestBuilder<Any> {
        // ureq takes a timeout of zero for no timeout.
        let limit = limit.as_duration().max(std::time::Duration::from_millis(1));
        request.config().timeout_global(Some(limit)).timeout_connect(Some(limit / 2)).build()
    }

    fn finish(&self, result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Vec<u8>, String> {
        let mut response = result.map_err(|error| error.to_string())?;
        let body = response.body_mut().with_config().limit(ANSWER_MAX).read_to_vec().map_err(|error| error.to_string());
        match response.status().as_u16() {
            200 => body,
            status => Err(format!("HTTP status {status}{}", wire::complaint(&body.unwrap_or_default()))),
        }
    }
}

impl Store for Etcd {
    fn ask(&mut self, ask: &Ask, limit: Span) -> Answer {
        self.each(limit, |etcd, at, left| etcd.try_one(at, ask, left)).unwrap_or_else(Answer::Unknown)
    }
}

fn agent(tls: Option<&Tls>) -> Result<ureq::Agent, EtcdError> {
    let mut config = ureq::Agent::config_builder()
        .user_agent(concat!("treevisor/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        // Requests go to the configured endpoints only: no redirects, no proxy.
        .max_redirects(0)
        .proxy(None);
    if let Some(tls) = tls {
        config = config.tls_config(tls_config(tls)?);
    }
    Ok(config.build().new_agent())
}

/// Checks an endpoint of the settings, and returns it without a trailing slash.
fn endpoint(text: &str, has_tls: bool) -> Result<String, EtcdError> {
    let wrong = |why: &str| EtcdError(format!("\"{text}\" is no endpoint of etcd: {why}"));
    let uri: Uri = text.parse().map_err(|_| wrong("it cannot be read as a URL"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") if has_tls => {}
        Some("https") => return Err(wrong("for https the certificate of its authority is needed: `ca`")),
        _ => return Err(wrong("it begins neither with http:// nor with https://")),
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) || uri.host().is_none_or(str::is_empty)
    {
        return Err(wrong("it has no host, or a user"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong("it ends after the port"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn tls_config(tls: &Tls) -> Result<TlsConfig, EtcdError> {
    // An error means that a default provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities = certificates(&tls.ca, "`ca`")?;
    let client = match &tls.client {
        None => None,
        Some((chain, key)) => {
            let key = PrivateKey::from_pem(key)
                .map_err(|error| EtcdError(format!("`key` has no private key as PEM that can be read: {error}")))?;
            Some(ClientCert::new_with_certs(&certificates(chain, "`cert`")?, key))
        }
    };
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&authorities)).client_cert(client).build())
}

fn certificates(pem: &[u8], whose: &str) -> Result<Vec<Certificate<'static>>, EtcdError> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(EtcdError(format!("{whose} cannot be read as PEM: {error}"))),
        }
    }
    if found.is_empty() { Err(EtcdError(format!("{whose} has no certificate as PEM in it"))) } else { Ok(found) }
}
