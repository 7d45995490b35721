//! Limits by cgroup: a value, "max", or a table with the value and whether the tree starts without it too.

use super::super::diagnostic::quoted;
use super::super::fields::Layer;
use super::super::quote::inline;
use super::super::resources::{Amount, Cap, Resources};
use super::super::shape::{NUMBER, Shape, a_whole, any, integer, keys, refuse_others, shapes, text_like, word};
use super::super::size;
use super::super::source::Finding;
use super::super::value::{Scope, Value};
use serde_json::{Value as Json, json};
use toml::de::DeValue;

keys! {
    /// Limits of a worker, or of all children of a supervisor together.
    RESOURCES of Resources {
        "memory-max" => Capped(Memory), optional(memory_max);
        "The most memory, by cgroup: \"512M\", \"50%\" of the machine's, or \"max\". Beyond it the kernel kills. Of a \
         supervisor: of all that stands below it together."
        "memory-high" => Capped(Memory), optional(memory_high);
        "Beyond this much memory its processes are slowed down, and their memory is reclaimed."
        "cpu-max" => Capped(Cpu), optional(cpu_max);
        "The most CPU, by cgroup: \"150%\" of one core, or cores such as 1.5."
        "cpu-weight" => Capped(Weight), optional(cpu_weight);
        "Its share of the CPU against its siblings where it is short, from 1 to 10000; 100 is usual."
        "pids-max" => Capped(Pids), optional(pids_max);
        "The most processes and threads, by cgroup: a number, \"10%\" of what the machine allows, or \"max\"."
        "io-weight" => Capped(Weight), optional(io_weight);
        "Its share of block I/O against its siblings, from 1 to 10000; 100 is usual."
    }
}

/// The range of weights; the kernel's default is 100, cgroups(7).
const WEIGHTS: (i64, i64) = (1, 10_000);

/// At most 100%.
const SHARE: &str = r"(?:0*(?:100(?:\.0*)?|[0-9]{1,2}(?:\.[0-9]*)?)|\.[0-9]+)\s*%";

shapes! {
    /// A number of bytes, or a part of the machine's memory.
    Memory: Amount, memory, show_amount, any([
        text_like(&format!(r"(?=.*[1-9])\s*(?:{NUMBER}\s*(?:(?:[kKmMgGtT][iI]?)?[bB]|[kKmMgGtT][iI]?)|{SHARE})\s*")),
        json!({ "type": "integer", "minimum": 1 }),
    ]);
    /// A number of processes, or a part of those that the machine allows.
    Pids: Amount, pids, show_amount, any([
        text_like(&format!(r"(?=.*[1-9])\s*{SHARE}\s*")),
        json!({ "type": "integer", "minimum": 1 }),
    ]);
    /// CPU in thousandths of a core, from `"150%"` or a number of cores.
    Cpu: u32, cpu, |thousandths: &u32| format!("{:?}", f64::from(*thousandths) / 1000.0), any([
        text_like(&format!(r"(?=.*[1-9])\s*(?:{NUMBER}\s*%|[0-9]*\.[0-9]+|[0-9]+\.)\s*")),
        json!({ "type": "number", "minimum": 0.001, "maximum": 100_000 }),
    ]);
    /// A share against siblings.
    Weight: u32, |scope: &mut Scope<'_>, value| a_whole(WEIGHTS.0, WEIGHTS.1).read(scope, value), u32::to_string,
        integer(WEIGHTS.0, WEIGHTS.1);
}

/// The keys of the table that a limit can be written as.
const VALUE: &str = "value";
const BEST_EFFORT: &str = "best-effort";

/// A value of this shape as a limit.
struct Capped<S>(S);

impl<S: Shape> Shape for Capped<S> {
    type Parsed = Cap<S::Parsed>;

    fn read(&self, scope: &mut Scope<'_>, value: Value<'_>) -> Option<Self::Parsed> {
        let Some(layer) = Layer::of(value, None) else {
            return Some(Cap { value: self.value(scope, value)?, best_effort: false });
        };
        refuse_others(scope, layer, &[VALUE, BEST_EFFORT], &quoted(value.key), |_| None);
        let best_effort = match layer.get(BEST_EFFORT) {
            Some(word) => scope.boolean(word)?,
            None => false,
        };
        let Some(inner) = layer.get(VALUE) else {
            let right = format!("write {} = {{ value = …, best-effort = true }}", value.key);
            scope.bad_value(value, format!("`{VALUE}` is missing in {}", quoted(value.key)), right);
            return None;
        };
        // The key of the limit, not `value`, so that messages name the limit.
        let value = self.value(scope, Value { key: value.key, ..inner })?;
        Some(Cap { value, best_effort })
    }

    fn show(&self, cap: &Self::Parsed) -> String {
        let value = cap.value.as_ref().map_or_else(|| "\"max\"".to_owned(), |value| self.0.show(value));
        if cap.best_effort {
            return inline([(VALUE.to_owned(), value), (BEST_EFFORT.to_owned(), "true".to_owned())]);
        }
        value
    }

    fn schema(&self) -> Json {
        let one = any([word(["max"]), self.0.schema()]);
        any([
            one.clone(),
            json!({
                "type": "object",
                "properties": {
                    VALUE: one,
                    BEST_EFFORT: {
                        "type": "boolean",
                        "description": "Start without it where its controller is missing.",
                        "default": false,
                    },
                },
                "required": [VALUE],
                "additionalProperties": false,
            }),
        ])
    }
}

impl<S: Shape> Capped<S> {
    /// The limit; the inner `None` is "max".
    fn value(&self, scope: &mut Scope<'_>, value: Value<'_>) -> Option<Option<S::Parsed>> {
        if let DeValue::String(text) = value.value {
            if text == "max" {
                return Some(None);
            }
            // A text that begins with a letter must be the word "max"; a variable may hold it too.
            if text.starts_with(|c: char| c.is_alphabetic()) {
                let foreign = [("infinity", "max"), ("unlimited", "max"), ("none", "max")];
                return scope.choice_or(value, &[("max", None::<()>)], &foreign, ", or an amount").map(|_| None);
            }
            if text.contains('$') && scope.text(value)? == "max" {
                return Some(None);
            }
        }
        self.0.read(scope, value).map(Some)
    }
}

fn show_amount(amount: &Amount) -> String {
    match amount {
        Amount::Absolute(number) => number.to_string(),
        Amount::Share(part) => format!("\"{}%\"", f64::from(*part) / 100.0),
    }
}

/// Parses a percentage, in hundredths of a percent; `None` if it is malformed or outside 0.01% to 100%.
fn share(text: &str) -> Option<u32> {
    let percent = text.trim().strip_suffix('%')?.trim().parse::<f64>().ok()?;
    (0.01..=100.0).contains(&percent).then(|| (percent * 100.0).round() as u32)
}

fn memory(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Amount> {
    match value.value {
        DeValue::Integer(_) => scope.size(value).map(Amount::Absolute),
        DeValue::String(_) => {
            let text = scope.text(value)?;
            if text.contains('%') {
                return share_of(scope, value, &text, "memory");
            }
            let read = size::parse_binary(&text).and_then(|bytes| match bytes {
                0 => Err("it cannot be zero".into()),
                bytes => Ok(Amount::Absolute(bytes)),
            });
            read.map_err(|why| {
                let message = format!("cannot read the amount of memory {}", quoted(&text));
                scope.report(
                    Finding::error("bad-size", value.place, message)
                        .label(why)
                        .hint("write \"512M\" or \"2G\" (powers of 1024), \"50%\" of the machine's memory, or \"max\""),
                );
            })
            .ok()
        }
        _ => {
            scope.wrong_type(value, "an amount of memory", &format!("{} = \"512M\"", value.key));
            None
        }
    }
}

fn pids(scope: &mut Scope<'_>, value: Value<'_>) -> Option<Amount> {
    match value.value {
        DeValue::String(_) => {
            let text = scope.text(value)?;
            share_of(scope, value, &text, "number of processes")
        }
        _ => scope.integer(value, 1..=i64::MAX).and_then(|n| u64::try_from(n).ok()).map(Amount::Absolute),
    }
}

/// A share of what the machine has.
fn share_of(scope: &mut Scope<'_>, value: Value<'_>, text: &str, what: &str) -> Option<Amount> {
    let share = share(text);
    if share.is_none() {
        let hint = "write a number, \"10%\" of what the machine has (above 0, at most 100%), or \"max\"";
        scope.bad_value(value, format!("{} is no {what}", quoted(text)), hint);
    }
    share.map(Amount::Share)
}

fn cpu(scope: &mut Scope<'_>, value: Value<'_>) -> Option<u32> {
    // No machine has more than a hundred thousand cores.
    const CORES: std::ops::RangeInclusive<f64> = 0.001..=100_000.0;
    let cores = match value.value {
        DeValue::String(_) => {
            let text = scope.text(value)?;
            let number = text.trim();
            let cores = match number.strip_suffix('%') {
                Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
                // A whole number in a string is refused, as it could be meant in percent.
                None => number.parse::<f64>().ok().filter(|_| number.contains('.')),
            };
            match cores.filter(|cores| CORES.contains(cores)) {
                Some(cores) => cores,
                None => {
                    let hint = "write a percentage of one core such as \"150%\", or a number of cores such as 1.5";
                    scope.bad_value(value, format!("{} is no share of CPU", quoted(&text)), hint);
                    return None;
                }
            }
        }
        DeValue::Integer(_) | DeValue::Float(_) => scope.number(value, CORES)?,
        _ => {
            scope.wrong_type(value, "a share of CPU", "cpu-max = \"150%\"");
            return None;
        }
    };
    Some((cores * 1000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::super::super::read_text;
    use super::*;
    use crate::spec::tree::{ChildKind, TreeSpec};

    fn tree(line: &str) -> Result<TreeSpec, String> {
        let read = read_text("t.toml", &format!("[[child]]\nname = \"a\"\ncommand = \"a\"\n{line}\n"), &|name| {
            Some(if name == "MAX" { "max" } else { "64M" }.to_owned())
        });
        let said = read.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        read.tree.ok_or(said)
    }

    fn resources(line: &str) -> Result<Resources, String> {
        let tree = tree(line)?;
        match &tree.root.children[0].kind {
            ChildKind::Worker(exec) => Ok(exec.resources),
            ChildKind::Supervisor(_) => panic!("a worker was written"),
        }
    }

    #[test]
    fn amounts_are_read_as_systemd_reads_them() {
        use Amount::{Absolute, Share};
        for (written, is) in [
            ("\"512M\"", Some(Absolute(512 << 20))),
            ("\"2G\"", Some(Absolute(2 << 30))),
            ("\"1.5k\"", Some(Absolute(1536))),
            ("\"1T\"", Some(Absolute(1 << 40))),
            ("\"512MB\"", Some(Absolute(512_000_000))),
            ("\"64KiB\"", Some(Absolute(64 << 10))),
            ("4096", Some(Absolute(4096))),
            ("\"50%\"", Some(Share(5_000))),
            ("\" 12.5 % \"", Some(Share(1_250))),
            ("\"100%\"", Some(Share(10_000))),
            ("\"max\"", None),
            ("\"${MAX}\"", None),
            ("\"${SIZE}\"", Some(Absolute(64 << 20))),
        ] {
            let cap = resources(&format!("memory-max = {written}")).unwrap().memory_max.unwrap();
            assert_eq!((cap.value, cap.best_effort), (is, false), "{written}");
            let table = format!("memory-high = {{ value = {written}, best-effort = true }}");
            let cap = resources(&table).unwrap().memory_high.unwrap();
            assert_eq!((cap.value, cap.best_effort), (is, true), "{written}");
        }
        let pids = |written| resources(&format!("pids-max = {written}")).unwrap().pids_max.unwrap().value;
        assert_eq!([pids("7"), pids("\"10%\""), pids("\"max\"")], [Some(Absolute(7)), Some(Share(1_000)), None]);
        let cpu = |written| resources(&format!("cpu-max = {written}")).unwrap().cpu_max.unwrap().value;
        assert_eq!(
            ["\"150%\"", "1.5", "\"1.5\"", "2", "0.001", "\"0.1%\"", "\"max\""].map(cpu),
            [Some(1500), Some(1500), Some(1500), Some(2000), Some(1), Some(1), None]
        );
        let weights = resources("cpu-weight = 1\nio-weight = 10_000").unwrap();
        assert_eq!((weights.cpu_weight.unwrap().value, weights.io_weight.unwrap().value), (Some(1), Some(10_000)));
    }

    #[test]
    fn what_is_no_limit_is_told_with_what_would_be_right() {
        for (line, words) in [
            ("memory-max = \"0\"", "unit"),
            ("memory-max = \"0M\"", "zero"),
            ("memory-max = 0", "zero"),
            ("memory-max = \"101%\"", "at most 100%"),
            ("memory-max = \"0%\"", "above 0"),
            ("memory-max = \"infinity\"", "did you mean"),
            ("memory-max = \"lots\"", "or an amount"),
            ("memory-max = true", "an amount of memory"),
            ("memory-max = { best-effort = true }", "`value` is missing"),
            ("memory-max = { value = 1, best_effort = true }", "best-effort"),
            ("memory-max = { value = 1, best-effort = 1 }", "true or false"),
            ("cpu-max = \"150\"", "no share of CPU"),
            ("cpu-max = 0", "from 0.001"),
            ("cpu-weight = 0", "from 1 to 10000"),
            ("io-weight = 10001", "from 1 to 10000"),
            ("pids-max = 0", "from 1 up"),
            ("pids-max = \"7\"", "no number of processes"),
        ] {
            let read = read_text("t.toml", &format!("[[child]]\nname = \"a\"\ncommand = \"a\"\n{line}\n"), &|_| None);
            let said: String = read.diagnostics.iter().map(|found| format!("{found:?}")).collect();
            assert!(read.tree.is_none() && said.contains(words), "{line}: {said}");
        }
    }

    #[test]
    fn a_supervisor_has_its_own_and_takes_none_of_the_defaults() {
        let text = "memory-max = \"1G\"\n[defaults]\nmemory-max = \"10M\"\n[[child]]\nname = \"s\"\npids-max = 5\n\
                    [[child.child]]\nname = \"a\"\ncommand = \"a\"\n[[child.child]]\nname = \"b\"\ncommand = \"b\"\n\
                    memory-max = \"max\"\n";
        let tree = read_text("t.toml", text, &|_| None).tree.unwrap();
        let Amount::Absolute(whole) = tree.root.resources.memory_max.unwrap().value.unwrap() else { panic!() };
        assert_eq!(whole, 1 << 30);
        let ChildKind::Supervisor(below) = &tree.root.children[0].kind else { panic!() };
        assert_eq!((below.resources.memory_max, below.resources.pids_max.is_some()), (None, true));
        let of = |at: usize| match &below.children[at].kind {
            ChildKind::Worker(exec) => exec.resources.memory_max.unwrap().value,
            ChildKind::Supervisor(_) => panic!(),
        };
        assert_eq!((of(0), of(1)), (Some(Amount::Absolute(10 << 20)), None));
    }
}
