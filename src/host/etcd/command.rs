//! The command line of etcd as a member.

use crate::spec::host::member::MemberAt;
use std::path::{Path, PathBuf};

/// The size in bytes beyond which the member refuses writes.
const QUOTA: u64 = 2 << 30;

/// How a member starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Begin {
    /// As the first member of a new store.
    New,
    /// With the data on its disk.
    Again,
    /// As an additional member. With name and URL of each member, itself included.
    Existing(Vec<(String, String)>),
}

/// The files of a member, below its directory.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) data: PathBuf,
    pub(super) ca: PathBuf,
    /// The certificate and its private key, in one file so that they always match.
    pub(super) cert: PathBuf,
}

impl Files {
    pub(super) fn below(directory: &Path) -> Files {
        let [data, ca, cert] = ["data", "ca.pem", "member.pem"].map(|name| directory.join(name));
        Files { data, ca, cert }
    }

    /// Whether the directory has a write-ahead log; without one, this was never a member.
    pub(super) fn has_data(&self) -> bool {
        self.data.join("member/wal").is_dir()
    }
}

/// The arguments by which the host `name` runs its member. `token` is different for each store.
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
    // At "warn" the gateway logs a line for each request.
    option("log-level", "error".into());
    option("initial-cluster-token", token.to_owned());
    // With "existing", etcd exits where its data are missing, and does not create a store of its own.
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

/// A member's certificate is verified without its address: a member may connect from another address than the one in
/// its certificate. Set by the environment, as not every version of etcd has an option for it.
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
