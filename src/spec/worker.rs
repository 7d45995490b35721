//! Reads the keys of a worker, and of each copy that a `count` makes of it.
//!
//! A worker with `${@n}` in its values is read anew for each copy. Scaling a running tree reads no files, so such
//! copies keep a template: the tables that they were read from, with the values of variables.

use super::env_file::EnvFiles;
use super::exec::{ExecSpec, LogSpec, Template, TemplateTable, numbered};
use super::expand::has_number;
use super::fields::{Fields, Layer};
use super::keys::resources::RESOURCES;
use super::keys::rows::{BOUNDS, CHILD, OWN, READY, SETUP};
use super::keys::{beat, ready};
use super::kind::{Group, Kind};
use super::policy::ChildPolicy;
use super::quote::{array, basic, inline, key};
use super::source::{At, Findings};
use super::value::Scope;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a worker's keys.
pub(super) fn keys(scope: &mut Scope<'_>, fields: &mut Fields<'_>) -> (ChildPolicy, ExecSpec) {
    let (mut policy, mut exec) = (ChildPolicy::default(), ExecSpec::new(Vec::new()));
    fields.fill(scope, Some(Group::Child), CHILD, &mut policy);
    let values = fields.values(Some(Group::Child), "heartbeat");
    if let Some(beats) = beat::heartbeat(scope, &values, &mut fields.places) {
        fields.mean("heartbeat", beats.place);
        if let Some(beats) = beats.value {
            (policy.heartbeat, exec.sources) = (Some(beats.heartbeat), beats.sources);
        }
    }
    fields.fill(scope, Some(Group::Own), OWN, &mut exec);
    fields.fill(scope, Some(Group::Setup), SETUP, &mut exec);
    let values = fields.values(Some(Group::Ready), "ready");
    if let Some(At { value, place }) = ready::ready(scope, &values, &mut fields.places) {
        fields.mean("ready", place);
        (policy.ready, exec.ready_probe) = value;
    }
    fields.fill(scope, Some(Group::Ready), READY, &mut policy);
    fields.fill(scope, Some(Group::Bounds), BOUNDS, &mut exec);
    policy.evidence = exec.evidence();
    fields.fill(scope, Some(Group::Resources), RESOURCES, &mut exec.resources);
    (policy, exec)
}

/// Reads a worker's keys and its files of variables; `number` is that of a copy.
pub(super) fn read(
    scope: &mut Scope<'_>,
    fields: &mut Fields<'_>,
    env_files: &mut EnvFiles<'_>,
    number: Option<u32>,
) -> (ChildPolicy, ExecSpec) {
    scope.copy = number;
    let (policy, mut exec) = keys(scope, fields);
    if let (true, Some(place)) = (scope.judging, fields.meant("env-file")) {
        exec.env_from_files = env_files.variables(scope, &exec.env_files, place);
    }
    (policy, exec)
}

/// Gives a copy a log file of its own by adding its number, unless the name contains the number already.
pub(super) fn number_log(scope: &Scope<'_>, fields: &Fields<'_>, exec: &mut ExecSpec, number: u32) {
    let by_itself = fields.places.get("log.file").is_some_and(|place| has_number(scope.findings.sources.text(*place)));
    if let (LogSpec::File { file, .. }, false) = (&mut exec.log, by_itself) {
        *file = numbered(file, number);
    }
}

/// The template for further copies.
pub(super) fn template(scope: &Scope<'_>, fields: &Fields<'_>) -> Template {
    let mut variables = BTreeMap::new();
    let tables = fields.layers().iter().map(|layer| {
        let lines =
            layer.table.iter().map(|(name, value)| format!("{} = {}\n", key(name.get_ref()), text(value.get_ref())));
        let toml: String = lines.collect();
        for name in
            toml.split("${").skip(1).map(|rest| rest.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).next())
        {
            let name = name.unwrap_or_default();
            if let Some(value) = (scope.env)(name) {
                variables.insert(name.to_owned(), value);
            }
        }
        let file = scope.findings.sources.path(layer.file);
        TemplateTable { file: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()), toml }
    });
    let tables = tables.collect();
    Template { tables, variables }
}

/// A value as TOML, in one line.
fn text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => basic(text),
        DeValue::Integer(number) => match number.radix() {
            2 => format!("0b{}", number.as_str()),
            8 => format!("0o{}", number.as_str()),
            16 => format!("0x{}", number.as_str()),
            _ => number.as_str().to_owned(),
        },
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(items) => array::<Spanned<DeValue<'_>>>(items, |item| text(item.get_ref())),
        DeValue::Table(table) => inline(table.iter().map(|(name, value)| (key(name.get_ref()), text(value.get_ref())))),
    }
}

/// Reads the copy with this number from a template.
pub(super) fn another(
    template: &Template,
    number: u32,
    mut env_files: EnvFiles<'_>,
    findings: &mut Findings,
) -> (ChildPolicy, ExecSpec) {
    let tables: Vec<_> =
        template.tables.iter().map(|table| DeTable::parse_recoverable(&table.toml).0.into_inner()).collect();
    let kinds = std::iter::once(Kind::Worker).chain(std::iter::repeat(Kind::Defaults));
    let layers = template.tables.iter().zip(&tables).zip(kinds).map(|((written, table), kind)| {
        let file = findings.sources.add(written.file.clone(), written.toml.as_str().into());
        Layer { table, file, kind: Some(kind) }
    });
    let mut fields = Fields::new(layers.collect(), "");
    let env = |name: &str| template.variables.get(name).cloned();
    let mut scope = Scope { findings, env: &env, judging: true, copy: None, numbered: false };
    let (policy, mut exec) = read(&mut scope, &mut fields, &mut env_files, Some(number));
    number_log(&scope, &fields, &mut exec, number);
    exec.template = Some(Box::new(template.clone()));
    (policy, exec)
}
