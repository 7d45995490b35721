//! `listen`: the sockets of a worker.

use super::super::diagnostic::quoted;
use super::super::exec::ExecSpec;
use super::super::listen::{Address, BACKLOG, LISTEN_MAX, Listen};
use super::super::policy::ChildPolicy;
use super::super::quote::{array, quote, string};
use super::super::shape::{Boolean, a_whole, any, integer, keys, reference, shapes, table, text_like};
use super::super::source::Finding;
use super::super::value::{Scope, Value};
use super::process::{Account, octal};
use super::switch::Table;
use serde_json::{Value as Json, json};
use std::net::{Ipv4Addr, SocketAddr};
use toml::de::DeValue;

keys! {
    SOCKET of Listen {
        "address" => AnAddress, always(address);
        "Where it listens: \"tcp://127.0.0.1:8080\", \"unix:/run/app.sock\", \"unix:@name\"."
        "name" => SocketName, optional(name);
        "What it is called in LISTEN_FDNAMES; by default as the worker."
        "backlog" => a_whole(1, i32::MAX as i64), unless(BACKLOG, backlog), default("4096");
        "So many connections may wait to be accepted; the kernel's own limit is net.core.somaxconn."
        "mode" => Mode, optional(mode);
        "File mode of a UNIX socket in octal: \"660\" or 0o660; by default what the umask leaves."
        "user" => Account, optional(user);
        "Owner of a UNIX socket, by name or number."
        "group" => Account, optional(group);
        "Group of a UNIX socket, by name or number; by default the user's own."
        "reuse-port" => Boolean, unless(false, reuse_port), default("false");
        "Other programs may listen at the same address (SO_REUSEPORT)."
    }
}

const RIGHT: &str = "listen = [\"tcp://127.0.0.1:8080\"], or [{ address = \"unix:/run/app.sock\", mode = \"660\" }]";

pub(super) static SOCKETS: Table<Listen> = Table {
    true_is_a_table: false,
    ..Table::new("listen", &[SOCKET], "an address, a table, or an array of them", RIGHT)
};

shapes! {
    /// Where a socket listens.
    AnAddress: Address, address, quote, address_schema();
    /// The name of a socket.
    SocketName: String, socket_name, |text: &String| string(text), text_like("[!-9;-~]{1,255}");
    /// A file mode in octal digits.
    Mode: u32, |scope: &mut Scope<'_>, value| octal(scope, value, "a file mode", "mode = \"660\""),
        |mode: &u32| format!("\"{mode:03o}\""), any([text_like("(?:0o)?0*[0-7]{1,3}"), integer(0, 0o777)]);
    /// The sockets of a worker.
    Listens: Vec<Listen>, listens, |sockets: &Vec<Listen>| array(sockets, show), any([
        reference("socket"),
        json!({ "type": "array", "maxItems": LISTEN_MAX, "uniqueItems": true, "items": reference("socket") }),
    ]);
}

/// The addresses and names of a worker's sockets, in their order; a change of these needs a restart.
pub(super) fn known_at_start(_: &ChildPolicy, exec: &ExecSpec) -> String {
    exec.listen.iter().map(|listen| format!("{} {:?};", listen.address, listen.name)).collect()
}

/// The JSON schema of one socket.
pub(in crate::spec) fn socket_schema() -> Json {
    let mut table = table(&SOCKETS.rows());
    table["required"] = json!(["address"]);
    any([address_schema(), table])
}

fn address_schema() -> Json {
    text_like(
        r"tcp://(?:localhost|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|\[[^\]]+\]):[0-9]*[1-9][0-9]*|unix:(?:@.+|[^@/]|[^@].*[^/])",
    )
}

fn address(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Address> {
    let text = scope.text(value)?;
    match Address::parse(&text) {
        Ok(address) => Some(address),
        Err(error) => {
            scope.bad_value(value, error.what, error.hint);
            None
        }
    }
}

fn socket_name(scope: &mut Scope<'_>, value: Value<'_>) -> Option<String> {
    let name = scope.filled(value)?;
    if name.len() > 255 || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        let hint =
            "use 1 to 255 characters of ASCII without blanks and colons: LISTEN_FDNAMES is a list with colons between";
        scope.bad_value(value, format!("{} is no name for a socket", quoted(&name)), hint);
        return None;
    }
    Some(name)
}

fn listens(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Vec<Listen>> {
    let DeValue::Array(items) = value.value else { return listen(scope, value).map(|socket| vec![socket]) };
    let mut sockets: Vec<Listen> = Vec::new();
    for item in value.elements(items) {
        let Some(socket) = listen(scope, item) else { continue };
        if sockets.iter().any(|other| other.address == socket.address) {
            scope.bad_value(item, format!("{} is there twice", socket.address), "remove one of them");
        }
        sockets.push(socket);
    }
    if items.len() > LISTEN_MAX {
        let what = format!("a worker has {LISTEN_MAX} sockets at most, and these are {}", items.len());
        scope.bad_value(value, what, "let the program open the others by itself");
    }
    Some(sockets)
}

fn listen(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Listen> {
    if matches!(value.value, DeValue::String(_)) {
        return address(scope, value).map(Listen::new);
    }
    // A placeholder until the address has been read.
    let mut socket = Listen::new(Address::Tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)));
    let fields = SOCKETS.read_alone(scope, value, &mut socket)?;
    if !fields.places.contains_key("address") {
        scope.bad_value(
            value,
            "this socket does not say where it listens".into(),
            "add address = \"tcp://127.0.0.1:8080\"",
        );
    }
    fields.meant("address")?;
    let is_tcp = matches!(socket.address, Address::Tcp(_));
    let of_files =
        ["mode", "user", "group"].map(|key| (key, socket.address.is_file(), "is for a socket that is a file"));
    for (key, fits, what) in of_files.into_iter().chain([("reuse-port", is_tcp, "is for TCP")]) {
        if let (false, Some(place)) = (fits, fields.meant(key)) {
            let what = format!("`{key}` {what}, and {} is none", socket.address);
            scope.report(Finding::error("bad-value", place, what).hint(format!("remove `{key}`")));
        }
    }
    Some(socket)
}

fn show(socket: &Listen) -> String {
    if *socket == Listen::new(socket.address.clone()) { quote(&socket.address) } else { SOCKETS.show(socket) }
}
