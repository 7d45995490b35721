//! Reads and writes the files of a host.

use super::failed::Failed;
use crate::host::identity::{Keys, key_file};
use crate::spec::host::{self, HostFile, StoreFile};
use crate::wire::member::NewHost;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Reads a host's file. Errors name the path `called` instead, where the file will be.
pub(super) fn read_host(file: &Path, called: &Path) -> Result<HostFile, Failed> {
    let read = host::read(file, &|name| std::env::var(name).ok());
    let wrong = read.diagnostics.iter().find(|found| found.is_error()).map(ToString::to_string);
    read.host.ok_or_else(|| {
        let wrong = wrong.unwrap_or_default().replace(&*file.to_string_lossy(), &called.to_string_lossy());
        Failed::new(wrong).hint("`treevisor host check` shows where, where the file is there")
    })
}

/// Reads the file and the keys of this host.
pub(super) fn member(file: &Path) -> Result<(HostFile, Keys), Failed> {
    let host = read_host(file, file)?;
    let path = key_file(file);
    let keys = Keys::read(&path).map_err(|error| Failed::of(&error))?;
    let none = || {
        Failed::new(format!("this host has no keys: there is no {}", path.display()))
            .hint("`treevisor host init` makes those of the first host, and `host add` there those of others")
    };
    Ok((host, keys.ok_or_else(none)?))
}

pub(super) fn text_of(new: &NewHost) -> String {
    let NewHost { cluster, name, address, endpoints, ca, cert, key, run, witness } = new;
    let store = StoreFile {
        endpoints: endpoints.clone(),
        ca: ca.clone(),
        cert: cert.clone(),
        key: key.clone(),
        run: *run,
        witness: *witness,
        ..StoreFile::default()
    };
    host::new::text(cluster, name, address.as_deref(), &store)
}

pub(super) fn absent(path: &Path, why: &str) -> Result<(), Failed> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failed::disk("look for", path, &error)),
        Ok(_) => Err(Failed::new(format!("{} is there: {why}", path.display()))),
    }
}

/// A file that was written under another name. Dropped before [`Aside::put`] or [`Aside::replace`], it is removed.
pub(super) struct Aside {
    /// The path under which it was written.
    pub(super) path: PathBuf,
    place: PathBuf,
}

impl Aside {
    pub(super) fn write(place: &Path, text: &str, mode: u32) -> Result<Aside, Failed> {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let aside = Aside { path: place.with_file_name(name), place: place.to_owned() };
        let written = || -> io::Result<()> {
            if let Some(above) = place.parent().filter(|above| !above.as_os_str().is_empty()) {
                DirBuilder::new().recursive(true).mode(0o755).create(above)?;
            }
            let _ = fs::remove_file(&aside.path);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside.path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        written().map_err(|error| Failed::disk("write", place, &error))?;
        Ok(aside)
    }

    /// Gives the file its final name, where no file may exist yet.
    pub(super) fn put(self) -> Result<(), Failed> {
        fs::hard_link(&self.path, &self.place).map_err(|error| Failed::disk("write", &self.place, &error))
    }

    /// Gives the file its final name, replacing the existing file.
    pub(super) fn replace(self) -> Result<(), Failed> {
        fs::rename(&self.path, &self.place).map_err(|error| Failed::disk("write", &self.place, &error))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
