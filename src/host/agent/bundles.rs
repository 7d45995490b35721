//! The deployed bundles on this host's disk. Each bundle has a directory named by its digest, and each instance a link
//! to the bundle that it runs. All functions here may block on the disk.
//!
//! ```text
//! STATE/host/bundles/DIGEST/bundle.json    what it is
//! STATE/host/bundles/DIGEST/files/…        its files
//! STATE/host/current/INSTANCE              link to the `files` of the bundle that its root runs, or is to reload
//! ```

use crate::files;
use crate::hosts::record::Placement;
use crate::ids::Name;
use crate::instance::state::StateDir;
use crate::os::random;
use crate::wire::hosts::{BUNDLE_FILES_MAX, BUNDLE_MAX, Bundle, BundleFile};
use sha2::{Digest, Sha256};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// A bundle on the disk of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// SHA-256 of its content, in hexadecimal; see `digest`.
    pub(super) digest: String,
    /// The instance that it belongs to.
    pub(super) instance: String,
    /// The file of the tree: a path among its files.
    pub(super) file: String,
    /// Where it may run. Only filled in right after the bundle was checked; empty otherwise.
    pub(super) placement: Placement,
}

/// The directory of the bundles.
#[derive(Debug, Clone)]
pub(super) struct Bundles {
    directory: PathBuf,
}

/// The digest by which a bundle is named: SHA-256 over instance, name of the main file, and the sorted names and
/// contents of all files.
fn digest(bundle: &Bundle, contents: &[Vec<u8>]) -> String {
    let mut hash = Sha256::new();
    let mut take = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    take(bundle.instance.as_bytes());
    take(bundle.file.as_bytes());
    let mut files: Vec<_> = bundle.files.iter().zip(contents).collect();
    files.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    for (file, content) in files {
        take(file.path.as_bytes());
        take(content);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a bundle that was received before it is written: no path leads out of it, and it is within the limits.
fn fits(bundle: &Bundle, contents: &[Vec<u8>]) -> Result<(), String> {
    Name::parse(&bundle.instance).map_err(|error| error.to_string())?;
    let inside = |path: &str| {
        let mut parts = Path::new(path).components();
        !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
    };
    if let Some(out) = bundle.files.iter().find(|file| !inside(&file.path)) {
        return Err(format!("{:?} leads out of the bundle", out.path));
    }
    // The file is called the same in every bundle of an instance, as a running root reloads the next bundle by that
    // name.
    if bundle.file != format!("{}.toml", bundle.instance) {
        return Err(format!("the file of a bundle is called as its instance, not {:?}", bundle.file));
    }
    if !bundle.files.iter().any(|file| file.path == bundle.file) {
        return Err(format!("{:?} is not among the files of the bundle", bundle.file));
    }
    let bytes: usize = contents.iter().map(Vec::len).sum();
    if bundle.files.len() != contents.len() || contents.len() > BUNDLE_FILES_MAX || bytes > BUNDLE_MAX {
        return Err(format!("a bundle has at most {BUNDLE_FILES_MAX} files of {BUNDLE_MAX} bytes in all"));
    }
    Ok(())
}

impl Bundles {
    /// Opens, and creates if needed, the directories below the state directory of the host's own tree.
    ///
    /// # Errors
    /// A directory cannot be created, or another user could change its content.
    pub(super) fn below(state: &StateDir) -> io::Result<Bundles> {
        state.create()?;
        let bundles = Bundles { directory: state.path().to_path_buf() };
        for part in ["bundles", "current"] {
            make(&bundles.directory.join(part))?;
        }
        Ok(bundles)
    }

    /// All complete bundles, sorted by digest.
    pub(super) fn all(&self) -> Vec<Kept> {
        let entries = fs::read_dir(self.directory.join("bundles")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut all: Vec<_> = names.filter_map(|digest| self.read(&digest)).collect();
        all.sort_by(|a, b| a.digest.cmp(&b.digest));
        all
    }

    fn read(&self, digest: &str) -> Option<Kept> {
        let text =
            files::read_regular(&self.directory.join("bundles").join(digest).join("bundle.json"), 1 << 20).ok()?;
        let Bundle { instance, file, .. } = serde_json::from_slice(&text).ok()?;
        Some(Kept { digest: digest.to_owned(), instance, file, placement: Placement::default() })
    }

    /// Writes a bundle, completely or not at all, and returns it. Nothing is written if it is there already. `called`:
    /// the digest that its content must have, for a bundle that another host has sent.
    ///
    /// # Errors
    /// The bundle does not fit the limits, its content has another digest, or it cannot be written.
    pub(super) fn keep(&self, bundle: &Bundle, contents: &[Vec<u8>], called: Option<&str>) -> Result<Kept, String> {
        fits(bundle, contents)?;
        let digest = digest(bundle, contents);
        if called.is_some_and(|called| called != digest) {
            return Err("its content is another than it is called".to_owned());
        }
        let (instance, file) = (bundle.instance.clone(), bundle.file.clone());
        let kept = Kept { digest, instance, file, placement: Placement::default() };
        if self.read(&kept.digest).is_some() {
            return Ok(kept);
        }
        let whole = self.directory.join("bundles").join(&kept.digest);
        let new = self.directory.join("bundles").join(format!(".{}", kept.digest));
        let written = || -> io::Result<()> {
            let _ = fs::remove_dir_all(&new);
            let _ = fs::remove_dir_all(&whole);
            for (file, content) in bundle.files.iter().zip(contents) {
                let path = new.join("files").join(&file.path);
                if let Some(above) = path.parent() {
                    make(above)?;
                }
                write(&path, content)?;
            }
            write(&new.join("bundle.json"), &serde_json::to_vec(bundle)?)?;
            fs::rename(&new, &whole)?;
            fs::File::open(self.directory.join("bundles"))?.sync_all()
        };
        written().map_err(|error| format!("cannot write the bundle to {}: {error}", whole.display()))?;
        Ok(kept)
    }

    /// Changes the link of an instance to this bundle, and returns the path of the tree's file through that link. So a
    /// root that reloads its file reads that of the bundle deployed last.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn point(&self, kept: &Kept) -> io::Result<PathBuf> {
        let link = self.link(&kept.instance);
        let new = link.with_file_name(format!(".{}", kept.instance));
        let _ = fs::remove_file(&new);
        symlink(Path::new("..").join("bundles").join(&kept.digest).join("files"), &new)?;
        fs::rename(&new, &link)?;
        Ok(link.join(&kept.file))
    }

    /// The id of this state directory: random, written at the first call, and read from then on.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn id(&self) -> io::Result<String> {
        let path = self.directory.join("id");
        match files::read_regular(&path, 64).map(String::from_utf8) {
            Ok(Ok(id)) if id.len() == 32 => return Ok(id),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::FileTooLarge) => {}
            // It may be there: another id would make this another state directory.
            Err(error) => return Err(error),
        }
        let id = random::mark()?.to_string();
        let _ = fs::remove_file(&path);
        write(&path, id.as_bytes())?;
        Ok(id)
    }

    /// The directory of the files of a bundle.
    pub(super) fn files(&self, kept: &Kept) -> PathBuf {
        self.directory.join("bundles").join(&kept.digest).join("files")
    }

    /// The instances that have ever run here.
    pub(super) fn instances(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.join("current")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| !name.starts_with('.')).collect()
    }

    /// Reads a whole bundle, to send it to another host.
    ///
    /// # Errors
    /// The system's, or the bundle is not there.
    pub(super) fn whole(&self, kept: &Kept) -> io::Result<(Bundle, Vec<Vec<u8>>)> {
        let text =
            files::read_regular(&self.directory.join("bundles").join(&kept.digest).join("bundle.json"), 1 << 20)?;
        let bundle: Bundle = serde_json::from_slice(&text)?;
        let read = |file: &BundleFile| files::read_regular(&self.files(kept).join(&file.path), BUNDLE_MAX as u64);
        let contents = bundle.files.iter().map(read).collect::<io::Result<_>>()?;
        Ok((bundle, contents))
    }

    pub(super) fn remove(&self, kept: &Kept) {
        let _ = fs::remove_dir_all(self.directory.join("bundles").join(&kept.digest));
    }

    /// The path of the main file of a bundle.
    pub(super) fn file(&self, kept: &Kept) -> PathBuf {
        self.files(kept).join(&kept.file)
    }

    fn link(&self, instance: &str) -> PathBuf {
        self.directory.join("current").join(instance)
    }
}

fn make(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(files: &[(&str, &str)]) -> (Bundle, Vec<Vec<u8>>) {
        let of = |(path, text): &(&str, &str)| BundleFile { path: (*path).into(), bytes: text.len() };
        let bundle =
            Bundle { instance: "shop".into(), file: "shop.toml".into(), files: files.iter().map(of).collect() };
        (bundle, files.iter().map(|(_, text)| text.as_bytes().to_vec()).collect())
    }

    #[test]
    fn a_bundle_is_called_as_its_content_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let bundles = Bundles::below(&StateDir::at(directory.path().join("host"))).unwrap();
        let (one, contents) = bundle(&[("shop.toml", "a"), ("conf.d/web.toml", "b")]);
        let kept = bundles.keep(&one, &contents, None).unwrap();
        assert_eq!(bundles.keep(&one, &contents, None).unwrap(), kept, "the same again is the same");
        let (other, changed) = bundle(&[("shop.toml", "a"), ("conf.d/web.toml", "c")]);
        let later = bundles.keep(&other, &changed, None).unwrap();
        assert_ne!(kept.digest, later.digest);
        assert_eq!(bundles.all().len(), 2);
        assert!(bundles.keep(&other, &changed, Some(&kept.digest)).is_err());
        assert_eq!(bundles.whole(&later).unwrap(), (other, changed));
        let file = bundles.point(&kept).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "a");
        assert_eq!(bundles.point(&later).unwrap(), file, "a root reads its file again by the same name");
        assert_eq!(fs::read_to_string(file.with_file_name("conf.d/web.toml")).unwrap(), "c");
    }

    #[test]
    fn its_file_has_one_name_and_the_directory_one_id() {
        let directory = tempfile::tempdir().unwrap();
        let bundles = Bundles::below(&StateDir::at(directory.path().join("host"))).unwrap();
        let (mut other, contents) = bundle(&[("shop4.toml", "a")]);
        other.file = "shop4.toml".into();
        assert!(bundles.keep(&other, &contents, None).unwrap_err().contains("called as its instance"));
        let id = bundles.id().unwrap();
        assert_eq!(bundles.id().unwrap(), id);
        // A file that cannot be read, here as a symbolic link to itself, is not taken for a missing one.
        let path = bundles.directory.join("id");
        fs::remove_file(&path).unwrap();
        symlink("id", &path).unwrap();
        assert!(bundles.id().is_err() && path.is_symlink());
    }

    #[test]
    fn no_file_lies_outside_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let bundles = Bundles::below(&StateDir::at(directory.path().join("host"))).unwrap();
        for path in ["../shop.toml", "/etc/passwd", "a/../../b", ""] {
            let (bundle, contents) = bundle(&[("shop.toml", "a"), (path, "b")]);
            assert!(bundles.keep(&bundle, &contents, None).unwrap_err().contains("leads out"), "{path}");
        }
        assert!(bundles.all().is_empty());
    }
}
