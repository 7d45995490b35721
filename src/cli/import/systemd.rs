//! Units of systemd: services, and of what they say of each other, the order.
//!
//! A unit that fails too often stays failed and leaves the others alone. Of several units each therefore gets a supervisor
//! of its own that is temporary: when it gives up, it stays down. A single unit is the tree itself.

use super::Text;
use super::draft::{Draft, Note, Setting};
use crate::spec::print::basic;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

mod command;
mod service;

/// One unit as it was read.
struct Unit {
    file: Rc<str>,
    /// As others call it: `web.service`.
    name: String,
    settings: Vec<Setting>,
    notes: Vec<Note>,
}

impl Unit {
    /// What is written for a key, in order; an empty value takes back what stood before.
    fn all(&self, section: &str, key: &str) -> Vec<&Setting> {
        let mut found = Vec::new();
        for setting in self.settings.iter().filter(|setting| setting.section == section && setting.key == key) {
            if setting.value.is_empty() { found.clear() } else { found.push(setting) }
        }
        found
    }

    /// The value that counts.
    fn last(&self, section: &str, key: &str) -> Option<&Setting> {
        self.all(section, key).pop()
    }

    /// The name without its ending.
    fn stem(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(stem, _)| stem)
    }
}

/// Makes a tree of units.
pub(super) fn read(texts: &[Text]) -> Draft {
    let mut tree = Draft::default();
    let mut units: Vec<Unit> = Vec::new();
    for unit in texts.iter().map(parse) {
        if unit.name.ends_with(".service") || !unit.all("Service", "ExecStart").is_empty() {
            units.push(unit);
        } else if !unit.name.ends_with(".target") {
            tree.note(Note::at(&unit.file, 1, &unit.name, "is left out: only services are carried over"));
        }
    }
    let alone = units.len() == 1;
    let names: Vec<_> = units.iter().map(|unit| unit.name.clone()).collect();
    for index in in_order(&units, &mut tree) {
        let unit = &units[index];
        let mut worker = service::worker(unit, &names);
        worker.notes.extend(unit.notes.iter().cloned());
        let window = Window::of(unit);
        if alone {
            window.set(&mut tree);
            tree.children.push(worker);
        } else if window.limited && !worker.restart_is("\"temporary\"") {
            let mut own = Draft::new(&worker.name);
            own.about = std::mem::take(&mut worker.about);
            own.about.push(
                "When it fails too often it stays down, and the others go on, as systemd has \
                 it."
                .into(),
            );
            own.set("restart", "\"temporary\"", None);
            window.set(&mut own);
            worker.name = "main".into();
            own.children.push(worker);
            tree.children.push(own);
        } else {
            tree.children.push(worker);
        }
    }
    tree
}

/// `StartLimitBurst` within `StartLimitIntervalSec`.
struct Window {
    intensity: String,
    period: String,
    limited: bool,
}

impl Window {
    fn of(unit: &Unit) -> Window {
        let either = |key: &str, old: &str| unit.last("Unit", key).or_else(|| unit.last("Service", old));
        let burst = either("StartLimitBurst", "StartLimitBurst").map_or("5", |setting| setting.value.as_str());
        let interval = either("StartLimitIntervalSec", "StartLimitInterval");
        let period = interval.map_or(Some("10s".to_owned()), |setting| service::span(&setting.value));
        // Zero switches it off.
        let off = burst == "0" || period.as_deref() == Some("0s");
        Window {
            intensity: if off { "\"unlimited\"".into() } else { burst.to_owned() },
            period: period.filter(|_| !off).unwrap_or_else(|| "10s".into()),
            limited: !off,
        }
    }

    fn set(&self, supervisor: &mut Draft) {
        supervisor.set("intensity", self.intensity.clone(), None);
        supervisor.set("period", basic(&self.period), None);
    }
}

/// The units so that each stands behind those that it is to be started after; those of a cycle as they were given.
fn in_order(units: &[Unit], tree: &mut Draft) -> Vec<usize> {
    let index_of: BTreeMap<&str, usize> =
        units.iter().enumerate().map(|(index, unit)| (unit.name.as_str(), index)).collect();
    let named = |unit: &Unit, key: &str| -> Vec<usize> {
        let words = unit.all("Unit", key).into_iter().flat_map(|setting| setting.value.split_whitespace());
        words.filter_map(|name| index_of.get(name).copied()).collect()
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
            tree.note(Note::at(
                &units[left].file,
                1,
                &units[left].name,
                "waits for units that wait for it; the order is that of the files",
            ));
            Some(left)
        });
        order.extend(next);
    }
    order
}

/// Takes a unit apart: lines may go on behind a backslash, comments begin a line.
fn parse(text: &Text) -> Unit {
    let name = Path::new(&*text.name).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut unit = Unit { file: Rc::clone(&text.name), name, settings: Vec::new(), notes: Vec::new() };
    let mut section = String::new();
    let mut lines = text.text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let mut line = line.trim().to_owned();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        while let Some(begun) = line.strip_suffix('\\') {
            let begun = begun.trim_end().to_owned();
            // Comments may stand between the parts.
            match lines.by_ref().map(|(_, line)| line.trim()).find(|line| !line.starts_with(['#', ';'])) {
                Some(more) => line = format!("{begun} {more}"),
                None => line = begun,
            }
        }
        if let Some(title) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            title.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            unit.settings.push(Setting {
                file: Rc::clone(&text.name),
                line: number,
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            });
        } else {
            unit.notes.push(Note::at(&text.name, number, &line, "is no Key=value"));
        }
    }
    unit
}
