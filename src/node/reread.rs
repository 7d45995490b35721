//! SIGHUP: the root reads its file again, with the environment that it was started with. The disk with the file may not
//! answer, nor may the source of the users that it names: a thread reads, and the loop is notified when it is done.

use super::reactor::Source;
use super::requests::Asker;
use super::turn::Node;
use crate::os::accounts::{self, Wanted};
use crate::os::epoll::Tag;
use crate::os::thread;
use crate::os::wake::Wake;
use crate::spec;
use slog::{error, warn};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

/// A file that is being read.
pub(super) struct Reading {
    result: Receiver<spec::Read>,
    wake: Arc<Wake>,
    tag: Tag,
    file: PathBuf,
}

impl Node {
    /// Begins to read the file that the tree came from.
    pub(super) fn reload_from_file(&mut self) {
        let Some(root) = &self.root else { return };
        let file = root.file.config.clone();
        if file.as_os_str().is_empty() {
            warn!(self.context.logger, "SIGHUP: this tree was started without a file, so there is nothing to reload");
            return;
        }
        if root.reading.is_some() {
            warn!(self.context.logger, "SIGHUP: the file is being read already, and its disk does not answer";
                "file" => %file.display());
            return;
        }
        if let Err(error) = self.begin_reading(file) {
            error!(self.context.logger, "SIGHUP: the file cannot be read; nothing is changed"; "error" => %error);
        }
    }

    fn begin_reading(&mut self, file: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
        let wake = Arc::new(Wake::new()?);
        let (sender, result) = mpsc::channel();
        let tag = self.reactor.watch(wake.as_raw_fd(), Source::Reading)?;
        let (path, rings) = (file.clone(), Arc::clone(&wake));
        let started = thread::start_quiet("treevisor-file", move || {
            let mut read = spec::read_at_once(&path, &|name| std::env::var(name).ok());
            if let Some(tree) = &mut read.tree {
                let missing = accounts::look_up(tree, Wanted::Here);
                read.object(missing);
            }
            // A root that has ended meanwhile does not receive it.
            let _ = sender.send(read);
            rings.ring();
        });
        if let Err(error) = started {
            self.reactor.unwatch(wake.as_raw_fd(), tag);
            return Err(error.into());
        }
        if let Some(root) = &mut self.root {
            root.reading = Some(Reading { result, wake, tag, file });
        }
        Ok(())
    }

    /// The file was read.
    pub(super) fn hear_reading(&mut self) {
        let Some(Reading { result, wake, tag, file }) = self.root.as_mut().and_then(|root| root.reading.take()) else {
            return;
        };
        self.reactor.unwatch(wake.as_raw_fd(), tag);
        let file = file.display().to_string();
        let Ok(read) = result.try_recv() else {
            error!(self.context.logger, "SIGHUP: the file cannot be read; nothing is changed"; "file" => file);
            return;
        };
        for wrong in read.errors() {
            error!(self.context.logger, "{}", wrong);
        }
        let Some(tree) = read.tree else {
            error!(self.context.logger, "SIGHUP: the file has errors, nothing is changed"; "file" => file);
            return;
        };
        if let Some(first) = spec::unsupported(&tree).first() {
            error!(self.context.logger, "SIGHUP: a key is not supported yet, nothing is changed"; "file" => file,
                "path" => %first.path, "key" => first.what());
            return;
        }
        if let Err(refused) = self.reload_root(Asker::Nobody, "SIGHUP".into(), tree, false, None) {
            error!(self.context.logger, "SIGHUP: {}; nothing is changed", refused; "file" => file);
        }
    }
}
