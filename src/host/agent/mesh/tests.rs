//! Real connections over loopback.

use super::*;
use crate::host::identity::keys::draw_curve;
use crate::os::clock;
use crate::os::epoll::{Interest, Poller};
use std::net::SocketAddr;
use std::sync::Mutex;

/// Longer than anything takes on a busy machine.
const BROKEN: Span = Span::from_secs(20);

fn mesh(host: &str) -> (Mesh, Key) {
    let keys = draw_curve().unwrap();
    let (public, secret) = (*keys.public.bytes(), *keys.secret.bytes());
    let own = HostIdentity { host: host.into(), cluster: "shop".into(), public, secret };
    (Mesh::bind(own, "tcp://127.0.0.1:*").unwrap(), public)
}

fn port(mesh: &Mesh) -> &str {
    mesh.router.endpoint().strip_prefix("tcp://").unwrap()
}

/// Runs these hosts until `so`.
fn until(hosts: &mut [Mesh], so: impl Fn(&[Mesh]) -> bool) {
    let mut poller = Poller::new().unwrap();
    for fd in hosts.iter().flat_map(Mesh::fds) {
        let tag = poller.next_tag();
        poller.add(fd, tag, Interest::READ).unwrap();
    }
    let (mut ready, end) = (Vec::new(), clock::both().boottime + BROKEN);
    loop {
        let now = clock::both().boottime;
        for host in hosts.iter_mut() {
            host.due(now, 1);
            host.receive(now);
        }
        if so(hosts) {
            return;
        }
        assert!(now < end, "it has not come to that");
        if !hosts.iter().any(Mesh::has_input) {
            let next = hosts.iter().filter_map(Mesh::next_deadline).min().unwrap();
            poller.wait(Some(next.since(clock::both().boottime)), &mut ready).unwrap();
        }
    }
}

#[test]
fn a_name_that_is_not_resolved_keeps_no_other_link_down_and_has_one_once_it_is() {
    let ((mut a, key_a), (mut b, key_b), (mut c, key_c)) = (mesh("a"), mesh("b"), mesh("c"));
    let (answer, answers) = std::sync::mpsc::channel::<SocketAddr>();
    let answers = Mutex::new(answers);
    let look_up = move |_: &str| answers.lock().unwrap().recv().map(|at| vec![at]).map_err(|error| error.to_string());
    a.names = Names::new(look_up).unwrap();
    let peer = |address: &str, key: Key| Ok(Peer { address: address.into(), key });
    let now = clock::both().boottime;
    let (at_a, at_b, at_c) = (port(&a).to_owned(), port(&b).to_owned(), port(&c).to_owned());
    a.follow([("b".into(), peer("b.example:7411", key_b)), ("c".into(), peer(&at_c, key_c))].into(), now);
    for other in [&mut b, &mut c] {
        other.follow([("a".into(), peer(&at_a, key_a))].into(), now);
    }
    let mut hosts = [a, b, c];
    until(&mut hosts, |hosts| hosts[0].is_up("c") && hosts[2].is_up("a") && hosts[0].is_up("b"));
    assert!(!hosts[1].is_up("a") && !hosts[0].dealers.contains_key("b"));
    assert_eq!(hosts[0].names.why("b.example:7411").unwrap(), "b.example has not been resolved yet");
    answer.send(at_b.parse().unwrap()).unwrap();
    until(&mut hosts, |hosts| hosts[1].is_up("a"));
}
