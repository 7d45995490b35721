//! Converts `StandardOutput=` and `StandardError=`. Here both go to the same place, so the first one decides.

use super::super::draft::{Draft, Setting};
use super::unit::Unit;

/// Sets the log of a worker.
pub(super) fn output(setting: &Setting, unit: &Unit<'_>, worker: &mut Draft) {
    let value = setting.value.as_str();
    let is_stdout = setting.key == "StandardOutput";
    match value.split_once(':') {
        Some((kind @ ("file" | "append" | "truncate"), path)) if is_stdout => {
            match unit.named.specified(path) {
                Ok(path) => {
                    worker.set_log(&path, "", setting);
                    if worker.has("log") {
                        let begun = if kind == "truncate" { "is not emptied at a start; " } else { "" };
                        worker.note(setting.note(format!(
                            "{begun}it is rotated at 10 MiB, and 5 old ones are kept: `max-size`, `keep`"
                        )));
                    }
                }
                Err(why) => worker.note(setting.note(why)),
            }
        }
        None if value == "null" && is_stdout => worker.set("log", "false", Some(setting)),
        // treevisor's own output goes to the journal if it runs as a unit.
        None if matches!(value, "journal" | "inherit") || value.starts_with("journal+") => {}
        // One file for both is the same here.
        Some(_) if same_file(unit) => {}
        None if value == "null" && unit.last("Service", "StandardOutput").is_some_and(|out| out.value == "null") => {}
        _ if is_stdout => worker.note(setting.note("goes to treevisor's own output")),
        _ => worker.note(setting.note("both outputs go the same way, in order")),
    }
}

/// Whether both outputs go to the same file.
fn same_file(unit: &Unit<'_>) -> bool {
    let path = |key| {
        let (kind, path) = unit.last("Service", key)?.value.split_once(':')?;
        matches!(kind, "file" | "append" | "truncate").then_some(path)
    };
    path("StandardOutput").is_some_and(|out| path("StandardError") == Some(out))
}
