//! Writes the configuration file of a new host.

use super::StoreFile;
use crate::spec::quote::{string, strings};
use std::fmt::Write;

/// The default port of agents.
const PORT: u16 = 7411;

/// The text of a host's file: cluster, name, address for other hosts, and store. The values are not checked here but
/// when the file is read.
pub fn text(cluster: &str, name: &str, address: Option<&str>, store: &StoreFile) -> String {
    let mut text = String::from("# A host of a cluster; `treevisor host check` shows what it means.\n");
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key} = {value}");
    };
    line("cluster", string(cluster));
    line("name", string(name));
    if let Some(address) = address {
        // An IPv6 address with a port is in brackets.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.to_owned()),
            _ => (address, PORT.to_string()),
        };
        let all = if host.starts_with('[') { "[::]" } else { "0.0.0.0" };
        line("listen", string(&format!("tcp://{all}:{port}")));
        line("address", string(&format!("{host}:{port}")));
    }
    text.push_str("\n[store]\n");
    let _ = writeln!(text, "endpoints = {}", strings(&store.endpoints));
    for (key, path) in [("ca", &store.ca), ("cert", &store.cert), ("key", &store.key)] {
        if let Some(path) = path {
            let _ = writeln!(text, "{key} = {}", string(&path.to_string_lossy()));
        }
    }
    if let Some(run) = store.run {
        let _ = writeln!(text, "run = {run}");
    }
    if store.witness {
        text.push_str("witness = true\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::host::read;
    use std::path::PathBuf;

    #[test]
    fn what_is_written_reads_as_it_was_meant() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("host.toml");
        let store = StoreFile {
            endpoints: vec!["https://10.0.0.1:2379".into()],
            ca: Some(PathBuf::from("/etc/a $HOME \"b\"/ca.pem")),
            ..StoreFile::default()
        };
        let endpoints = store.endpoints.clone();
        let votes = StoreFile { endpoints, run: Some(true), witness: true, ..StoreFile::default() };
        for (address, listen, found) in [
            ("10.0.0.1", "tcp://0.0.0.0:7411", "10.0.0.1:7411"),
            ("a.example:81", "tcp://0.0.0.0:81", "a.example:81"),
            ("[fd00::1]:81", "tcp://[::]:81", "[fd00::1]:81"),
        ] {
            std::fs::write(&file, text("shop", "a", Some(address), &store)).unwrap();
            let read = read(&file, &|_| None);
            let host = read.host.unwrap_or_else(|| panic!("{:?}", read.diagnostics));
            let mesh = host.mesh.unwrap();
            assert_eq!((mesh.listen.as_str(), mesh.address.as_str()), (listen, found));
            assert_eq!((host.cluster.as_str(), host.name.as_str(), &host.store), ("shop", "a", &store));
            std::fs::write(&file, text("shop", "a", Some(address), &votes)).unwrap();
            assert_eq!(super::super::read(&file, &|_| None).host.map(|host| host.store), Some(votes.clone()));
        }
    }
}
