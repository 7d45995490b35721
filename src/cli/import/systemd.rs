//! Units of systemd: services, and their order relative to each other.
//!
//! In systemd a unit that fails too often stays failed and does not affect others. So each of several units gets a
//! supervisor of its own that is `temporary`: when it gives up, it stays down. A unit whose restarts have no limit gets
//! one too, as its restarts would count against the limit of the root. A single unit becomes the whole tree.

use super::draft::Draft;
use super::source::{Machine, Text};
use crate::spec::print::basic;
use specifier::Named;
use std::collections::BTreeMap;
use std::rc::Rc;
use unit::Unit;

mod amount;
mod command;
mod output;
mod parse;
mod protection;
mod service;
mod socket;
mod specifier;
mod unit;
mod watchdog;
mod words;

/// A unit as read from disk.
pub(super) struct Source {
    /// Its name in other units; for a template, with the instance.
    pub(super) name: String,
    /// The absolute path of its own file.
    pub(super) fragment: String,
    /// The text of its own file, then those of its drop-ins.
    pub(super) texts: Vec<Text>,
    /// Whether it is a unit of a user manager.
    pub(super) of_user: bool,
}

/// The strategy that restarts a failed worker together with the steps before it.
const ALL: &str = "\"one-for-all\"";

/// Converts units into a tree.
pub(super) fn read(sources: &[Source], machine: &Machine<'_>) -> Draft {
    let mut tree = Draft::default();
    tree.about
        .push("A unit has an environment of its own; here a worker has that of the tree, and what `env` adds.".into());
    tree.about
        .push("A unit that cannot be started at boot fails alone; here it ends the start of the whole tree.".into());
    let drop_ins: Vec<_> =
        sources.iter().flat_map(|source| source.texts.iter().skip(1)).map(|text| &*text.name).collect();
    if !drop_ins.is_empty() {
        tree.about.push(format!("With its drop-ins: {}.", drop_ins.join(", ")));
    }
    // The default working directory of a system unit is the root directory, that of a user unit is the user's home.
    let of_users = sources.iter().any(|source| source.of_user);
    tree.for_all("cwd", basic(if of_users { "${HOME:-/}" } else { "/" }));
    let all: Vec<Unit<'_>> = sources.iter().map(|source| unit(source, machine)).collect();
    let (units, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|unit| unit.named.name.ends_with(".service") || !unit.all("Service", "ExecStart").is_empty());
    let is_of_one =
        |other: &Unit<'_>| units.iter().any(|unit| starts(other).is_some_and(|(_, meant)| meant == unit.named.name));
    let is_socket = |other: &Unit<'_>| other.named.name.ends_with(".socket") && is_of_one(other);
    for other in others.iter().filter(|other| !other.named.name.ends_with(".target") && !is_socket(other)) {
        tree.note(other.note("is left out: only services are carried over"));
    }
    let alone = units.len() == 1;
    let carried = units.iter().chain(others.iter().filter(|other| is_socket(other)));
    let names: Vec<_> = carried.map(|unit| unit.named.name.clone()).collect();
    for index in in_order(&units, &mut tree) {
        let unit = &units[index];
        let (mut worker, mut steps) = service::worker(unit, &names);
        worker.notes.extend(unit.notes.iter().cloned());
        started_by(unit, &others, &mut worker);
        // If the worker is written as a comment, so are its steps.
        steps.iter_mut().for_each(|step| step.off |= worker.off);
        let window = Window::of(unit, &mut worker);
        let is_restarted = !worker.is("restart", "\"temporary\"");
        if alone {
            if !steps.is_empty() {
                tree.set("strategy", ALL, None);
            }
            window.set(&mut tree);
            tree.children.append(&mut steps);
            tree.children.push(worker);
        } else if is_restarted || !steps.is_empty() {
            let mut own = Draft::new(&worker.name);
            own.about = std::mem::take(&mut worker.about);
            if is_restarted && window.limited {
                own.about.push(
                    "When it fails too often it stays down, and the others go on, as systemd has \
                     it."
                    .into(),
                );
            }
            own.set("restart", "\"temporary\"", None);
            if !steps.is_empty() {
                own.about.push("Its steps run again before each start of it.".into());
                own.set("strategy", ALL, None);
            }
            window.set(&mut own);
            worker.name = "main".into();
            own.children.append(&mut steps);
            own.children.push(worker);
            tree.children.push(own);
        } else {
            tree.children.push(worker);
        }
    }
    tree
}

/// If a unit starts a service at its own time, such as a timer: the kind of the unit, and the service.
fn starts<'u>(other: &'u Unit<'_>) -> Option<(&'u str, String)> {
    let (_, kind) = other.named.name.rsplit_once('.')?;
    let (section, key) = match kind {
        "timer" => ("Timer", "Unit"),
        "path" => ("Path", "Unit"),
        "socket" => ("Socket", "Service"),
        _ => return None,
    };
    let meant = other.names(section, key).pop();
    Some((kind, meant.unwrap_or_else(|| format!("{}.service", other.stem()))))
}

/// A service that is started by a timer or a path unit gets `autostart = false`; a service with a socket unit gets the
/// socket.
fn started_by(unit: &Unit<'_>, others: &[Unit<'_>], worker: &mut Draft) {
    for other in others {
        match starts(other) {
            Some((_, meant)) if meant != unit.named.name => {}
            Some(("socket", _)) => socket::hand_over(other, worker),
            Some(_) => {
                worker.off = true;
                let name = &other.named.name;
                let why = format!("is started by {name}; take the `#` away to have it started with the tree");
                worker.note(unit.note(why));
            }
            None => {}
        }
    }
}

fn unit<'a>(source: &Source, machine: &'a Machine<'a>) -> Unit<'a> {
    let file = source.texts.first().map_or_else(|| Rc::from(source.name.as_str()), |text| Rc::clone(&text.name));
    let named =
        Named { machine, name: source.name.clone(), of_user: source.of_user, fragment: source.fragment.clone() };
    let mut unit = Unit { file, named, settings: Vec::new(), notes: Vec::new() };
    for text in &source.texts {
        parse::parse(text, &mut unit.settings, &mut unit.notes);
    }
    if unit.named.is_template() {
        let stem = unit.stem().to_owned();
        unit.notes.push(unit.note(format!("is a template: an instance is imported by its name, {stem}NAME.service")));
    }
    unit
}

/// `StartLimitBurst` within `StartLimitIntervalSec`.
struct Window {
    intensity: String,
    period: String,
    limited: bool,
}

impl Window {
    fn of(unit: &Unit<'_>, worker: &mut Draft) -> Window {
        let either = |keys: &[&str]| unit.latest("Unit", keys).or_else(|| unit.latest("Service", keys));
        let mut burst = "5".to_owned();
        if let Some(setting) = either(&["StartLimitBurst"]) {
            match setting.value.parse::<u32>() {
                Ok(number) => burst = number.to_string(),
                Err(_) => worker.note(setting.note("is no whole number")),
            }
        }
        let mut period = "10s".to_owned();
        if let Some(setting) = either(&["StartLimitIntervalSec", "StartLimitInterval"]) {
            match amount::span(&setting.value) {
                Some(span) => period = span.to_string(),
                None if setting.value == "infinity" => {
                    period = "365d".into();
                    worker.note(setting.note("a window has an end; it is a year"));
                }
                None => worker.note(setting.note("is no time")),
            }
        }
        // Zero switches the limit off.
        let off = burst == "0" || period == "0s";
        if off {
            Window { intensity: "\"unlimited\"".into(), period: "10s".into(), limited: false }
        } else {
            Window { intensity: burst, period, limited: true }
        }
    }

    fn set(&self, supervisor: &mut Draft) {
        supervisor.set("intensity", self.intensity.clone(), None);
        supervisor.set("period", basic(&self.period), None);
    }
}

/// Sorts the units so that each comes after those that it is started after. Units in a cycle keep their order.
fn in_order(units: &[Unit<'_>], tree: &mut Draft) -> Vec<usize> {
    let index_of: BTreeMap<&str, usize> =
        units.iter().enumerate().map(|(index, unit)| (unit.named.name.as_str(), index)).collect();
    let named = |unit: &Unit<'_>, key: &str| -> Vec<usize> {
        unit.names("Unit", key).iter().filter_map(|name| index_of.get(name.as_str()).copied()).collect()
    };
    let mut after: Vec<Vec<usize>> = units.iter().map(|unit| named(unit, "After")).collect();
    for (index, unit) in units.iter().enumerate() {
        for before in named(unit, "Before") {
            after[before].push(index);
        }
    }
    let mut order: Vec<usize> = Vec::new();
    while order.len() < units.len() {
        let free = (0..units.len())
            .find(|index| !order.contains(index) && after[*index].iter().all(|first| order.contains(first)));
        let next = free.or_else(|| {
            let left = (0..units.len()).find(|index| !order.contains(index))?;
            tree.note(units[left].note("waits for units that wait for it; the order is that of the files"));
            Some(left)
        });
        order.extend(next);
    }
    order
}
