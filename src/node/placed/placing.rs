//! Where a child may run, in the form that hosts use: its `placement`, with the names of siblings turned into paths.

use crate::hosts::message::{Placing, SpreadPolicy as HostSpread};
use crate::hosts::record::{Choice, Placement};
use crate::ids::{Name, Path};
use crate::spec::policy::Strategy;
use crate::spec::tree::{PlacementSpec, Spread};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A placed sibling: its name and its placement.
pub(super) type Sibling<'a> = (&'a Name, &'a PlacementSpec);

/// The placement of the child `name` of the supervisor at `above`. `siblings` are all placed children of that
/// supervisor, with or without the child itself.
pub(super) fn placing(
    above: &Path,
    name: &Name,
    spec: &PlacementSpec,
    siblings: &[Sibling<'_>],
    strategy: Strategy,
) -> Placing {
    let paths = |is_meant: &dyn Fn(&Sibling<'_>) -> bool| {
        let meant = siblings.iter().filter(|sibling| is_meant(sibling));
        meant.map(|(name, _)| above.child(name).to_string()).collect::<Vec<_>>()
    };
    let group = spec.group.as_ref();
    // The common name of numbered copies means all of them.
    let is_called = |called: &Name, (sibling, placement): &Sibling<'_>| {
        *sibling == called || placement.group.as_ref() == Some(called)
    };
    // Either of the two may name the other in `apart`; the one that does may be placed first.
    let apart = |sibling: &Sibling<'_>| {
        let names_it = |called: &Name| is_called(called, &(name, spec));
        sibling.0 != name
            && (spec.apart.iter().any(|called| is_called(called, sibling)) || sibling.1.apart.iter().any(names_it))
    };
    Placing {
        on: Placement { hosts: spec.hosts.iter().cloned().map(rank).collect(), require: spec.require.clone() },
        spread: match &spec.spread {
            Spread::Off => HostSpread::No,
            Spread::Hosts => HostSpread::Hosts,
            Spread::Label(label) => HostSpread::Label(label.clone()),
        },
        group: paths(&|(_, placement)| group.is_some() && placement.group.as_ref() == group),
        apart: paths(&apart),
        exclusive: spec.exclusive,
        takeover: spec.takeover,
        delay_ms: spec.delay.as_millis(),
        adopt: spec.adopt.unwrap_or(strategy == Strategy::OneForOne),
        move_on_give_up: spec.move_on_give_up,
    }
}

fn rank(mut names: Vec<String>) -> Choice {
    match names.len() {
        1 => Choice::One(names.remove(0)),
        _ => Choice::Equals(names),
    }
}

/// A digest of the spec and of `exclusive`. A running subtree with the same digest needs no reload when it is adopted.
pub(super) fn digest(spec: &[u8], placement: &PlacementSpec) -> String {
    let mut hasher = DefaultHasher::new();
    spec.hash(&mut hasher);
    placement.exclusive.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn names_of_siblings_become_paths_and_a_counted_name_all_of_its_copies() {
        let (db, one, two) = (name("db"), name("web-1"), name("web-2"));
        let copy = PlacementSpec { group: Some(name("web")), spread: Spread::Hosts, ..PlacementSpec::default() };
        let spec = PlacementSpec {
            hosts: vec![vec!["a".into()], vec!["b".into(), "c".into()]],
            apart: vec![name("web")],
            delay: Span::from_secs(2),
            ..PlacementSpec::default()
        };
        let siblings = [(&db, &spec), (&one, &copy), (&two, &copy)];
        let above = Path::parse("/x").unwrap();
        let found = placing(&above, &db, &spec, &siblings, Strategy::OneForOne);
        assert_eq!(found.on.hosts, [Choice::One("a".into()), Choice::Equals(vec!["b".into(), "c".into()])]);
        assert_eq!((found.apart, found.group), (vec!["/x/web-1".to_owned(), "/x/web-2".to_owned()], Vec::new()));
        assert_eq!((found.delay_ms, found.exclusive, found.adopt), (2_000, true, true));
        let found = placing(&above, &one, &copy, &siblings, Strategy::OneForAll);
        assert_eq!(found.group, ["/x/web-1", "/x/web-2"]);
        assert_eq!(found.apart, ["/x/db"], "that one names it");
        assert_eq!((found.spread, found.adopt), (HostSpread::Hosts, false));
    }
}
