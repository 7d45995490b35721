//! The command line of a member.

use crate::spec::host::member::MemberAt;
use std::path::{Path, PathBuf};

/// Beyond so many bytes it refuses writes.
const QUOTA: u64 = 2 << 30;

/// How a member begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Begin {
    /// As the first one of a store.
    New,
    /// With its data.
    Again,
    /// As one more: the names and URLs of all members, itself too.
    Existing(Vec<(String, String)>),
}

/// The files of a member, below a directory of its own.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) data: PathBuf,
    pub(super) ca: PathBuf,
    /// Its certificate and the key to that: in one file, as each alone fits no other.
    pub(super) cert: PathBuf,
}

impl Files {
    pub(super) fn below(directory: &Path) -> Files {
        let [data, ca, cert] = ["data", "ca.pem", "member.pem"].map(|name| directory.join(name));
        Files { data, ca, cert }
    }

    /// Whether a member has begun to keep its log here; without that it never was one.
    pub(super) fn has_data(&self) -> bool {
        self.data.join("member/wal").is_dir()
    }
}

/// The arguments by which the host `name` runs its member. `token` is another one for each store.
pub(super) fn arguments(name: &str, token: &str, at: &MemberAt, files: &Files, begin: &Begin) -> Vec<String> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let [clients, peers] = at.listens().map(|at| format!("https://{at}"));
    let mut all = Vec::new();
    let mut option = |name: &str, value: String| all.push(format!("--{name}={value}"));
    option("name", name.to_owned());
    option("data-dir", path(&files.data));
    option("listen-client-urls", clients);
    option("listen-peer-urls", peers);
    option("advertise-client-urls", at.client());
    option("initial-advertise-peer-urls", at.peer());
    option("listen-metrics-urls", format!("http://{}", at.health()));
    for whose in ["", "peer-"] {
        option(&format!("{whose}cert-file"), path(&files.cert));
        option(&format!("{whose}key-file"), path(&files.cert));
        option(&format!("{whose}trusted-ca-file"), path(&files.ca));
        option(&format!("{whose}client-cert-auth"), "true".into());
    }
    option("auto-compaction-retention", "1h".into());
    option("quota-backend-bytes", QUOTA.to_string());
    option("pre-vote", "true".into());
    option("logger", "zap".into());
    // At "warn" it has a line for each request of its gateway.
    option("log-level", "error".into());
    option("initial-cluster-token", token.to_owned());
    // Where data are expected and are not there it ends, and makes no store of its own.
    option("initial-cluster-state", if *begin == Begin::New { "new" } else { "existing" }.into());
    let own = (name.to_owned(), at.peer());
    let members = match begin {
        Begin::Existing(members) => members.as_slice(),
        Begin::New | Begin::Again => std::slice::from_ref(&own),
    };
    let members: Vec<_> = members.iter().map(|(name, url)| format!("{name}={url}")).collect();
    option("initial-cluster", members.join(","));
    all
}

/// Set in its environment, as not each version has an option for it: the address that a member connects from is not
/// always the one that it is found at, and its certificate is looked at all the same.
pub(super) const ENVIRONMENT: [(&str, &str); 1] = [("ETCD_EXPERIMENTAL_PEER_SKIP_CLIENT_SAN_VERIFICATION", "true")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_one_makes_a_store() {
        let at = MemberAt { host: "10.0.0.2".into(), listen: "10.0.0.2".parse().unwrap() };
        let files = Files::below(Path::new("/s"));
        let all = |begin: &Begin| arguments("b", "t", &at, &files, begin).join(" ");
        let has = |text: &str, what: &str| assert!(text.contains(what), "{text}");
        has(&all(&Begin::New), "--initial-cluster-state=new --initial-cluster=b=https://10.0.0.2:2380");
        has(&all(&Begin::Again), "--initial-cluster-state=existing");
        let joined = all(&Begin::Existing(vec![("a".into(), "https://a:2380".into()), ("b".into(), at.peer())]));
        has(&joined, "--initial-cluster-state=existing --initial-cluster=a=https://a:2380,b=https://10.0.0.2:2380");
        for what in [" --client-cert-auth=true", "--peer-client-cert-auth=true", "--data-dir=/s/data"] {
            has(&joined, what);
        }
    }
}
