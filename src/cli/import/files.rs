//! Reads the files that are named on the command line and those that belong to them.

use super::source::Text;
use super::supervisord::Included;
use super::systemd::Source;
use crate::cli::failure::{ExitCode, Failure};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Most bytes of a file.
const FILE_MAX: u64 = 16 << 20;

/// The directories in which systemd looks for units and drop-ins, in order of precedence.
const UNIT_DIRECTORIES: &[&str] = &[
    // `systemctl set-property` writes its drop-ins here.
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

pub(super) fn load(file: &Path) -> Result<Text, Failure> {
    let failed = |why: String| Failure::new(ExitCode::Failed, format!("cannot read {}: {why}", file.display()));
    let bytes = crate::files::read_or_wait(file, FILE_MAX).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("it is no UTF-8".into()))?;
    // A byte order mark at the beginning is removed.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    Ok(Text { name: file.display().to_string().into(), text })
}

/// The directory that a file lies in.
pub(super) fn directory(file: &Path) -> PathBuf {
    let here = file.parent().filter(|here| !here.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::path::absolute(here).unwrap_or_else(|_| here.to_owned())
}

/// The files that match a pattern, in the order of their names. A wildcard does not match a leading dot.
pub(super) fn included(pattern: &Path) -> Result<Vec<Included>, String> {
    let pattern = pattern.to_str().ok_or("it is no UTF-8")?;
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let found = glob::glob_with(pattern, options).map_err(|error| error.to_string())?;
    let mut files: Vec<Included> = Vec::new();
    for file in found {
        match file {
            Ok(path) => {
                let text = load(&path).map_err(|failure| failure.message);
                files.push((path, text));
            }
            Err(error) => files.push((error.path().to_owned(), Err(error.to_string()))),
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(files)
}

/// Reads units with their drop-ins. A drop-in that is named on the command line is read with its unit.
pub(super) fn units(files: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for file in files.iter().filter(|file| !is_drop_in(file, files)) {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let template = template(file, &name).filter(|template| !file.exists() && template.exists());
        let fragment = template.as_deref().unwrap_or(file);
        let mut texts = vec![load(fragment)?];
        for drop_in in drop_ins(file, &name) {
            texts.push(load(&drop_in)?);
        }
        let absolute = directory(file);
        let of_user = absolute.ends_with("systemd/user");
        let fragment = absolute.join(fragment.file_name().unwrap_or_default()).display().to_string();
        sources.push(Source { name, fragment, texts, of_user });
    }
    Ok(sources)
}

/// Whether a file is in the `.d` directory of another one.
fn is_drop_in(file: &Path, files: &[PathBuf]) -> bool {
    file.extension() == Some(OsStr::new("conf"))
        && file.parent().and_then(Path::file_name).and_then(OsStr::to_str).is_some_and(|directory| {
            directory
                .strip_suffix(".d")
                .is_some_and(|unit| files.iter().any(|file| file.file_name() == Some(OsStr::new(unit))))
        })
}

/// The template of an instance: `web@.service` for `web@blue.service`.
fn template(file: &Path, name: &str) -> Option<PathBuf> {
    let (stem, kind) = name.rsplit_once('.')?;
    let (prefix, _) = stem.split_once('@')?;
    Some(file.with_file_name(format!("{prefix}@.{kind}")))
}

/// The drop-ins of a unit, in the order in which they are read. Of two with the same name, the first one found counts.
fn drop_ins(file: &Path, name: &str) -> Vec<PathBuf> {
    let own = directory(file);
    let directories: Vec<PathBuf> = match UNIT_DIRECTORIES.iter().any(|known| own == Path::new(known)) {
        true => UNIT_DIRECTORIES.iter().map(PathBuf::from).collect(),
        false => vec![file.parent().map(Path::to_owned).unwrap_or_default()],
    };
    let mut found: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for called in names(name) {
        for directory in &directories {
            let Ok(entries) = fs::read_dir(directory.join(format!("{called}.d"))) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                if path.extension() == Some(OsStr::new("conf"))
                    && let Some(name) = path.file_name()
                {
                    found.entry(name.to_owned()).or_insert(path);
                }
            }
        }
    }
    // A link to /dev/null masks the drop-ins of the same name.
    let empty = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|path| path == Path::new("/dev/null"));
    found.into_values().filter(|path| !empty(path)).collect()
}

/// The names under which a unit's drop-ins are looked up, the most specific first: its own, its template's, those of
/// its prefixes, its kind.
fn names(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned()];
    let Some((stem, kind)) = name.rsplit_once('.') else { return all };
    let prefix = match stem.split_once('@') {
        Some((prefix, instance)) => {
            if !instance.is_empty() {
                all.push(format!("{prefix}@.{kind}"));
            }
            prefix
        }
        None => stem,
    };
    let dashes: Vec<_> = prefix.match_indices('-').map(|(at, _)| at).collect();
    all.extend(dashes.iter().rev().map(|at| format!("{}-.{kind}", &prefix[..*at])).filter(|other| other != name));
    all.push(kind.to_owned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_drop_ins() {
        assert_eq!(
            names("a-b-c@x.service"),
            ["a-b-c@x.service", "a-b-c@.service", "a-b-.service", "a-.service", "service"]
        );
        assert_eq!(names("web.service"), ["web.service", "service"]);
    }

    #[test]
    fn the_path_of_a_unit_is_absolute() {
        let source = units(&[PathBuf::from("tests/data/import/shop-web.service")]).unwrap().remove(0);
        let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import/shop-web.service");
        assert_eq!(
            (source.fragment, &*source.texts[0].name),
            (whole.display().to_string(), "tests/data/import/shop-web.service")
        );
    }

    #[test]
    fn a_drop_in_goes_with_its_unit() {
        let files =
            [PathBuf::from("d/a.service"), PathBuf::from("d/a.service.d/x.conf"), PathBuf::from("b.service.d/x.conf")];
        let taken: Vec<_> = files.iter().map(|file| is_drop_in(file, &files)).collect();
        assert_eq!(taken, [false, true, false]);
    }
}
