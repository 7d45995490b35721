//! A console of a real tree.

use crate::browser::{Browser, Look, Page};
use crate::harness::{Tree, gone, signal};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

/// `treevisor web`, while it lives.
pub(crate) struct Console {
    child: Child,
    port: u16,
    /// With a key that logs in, once.
    pub(crate) link: String,
    base: String,
}

impl Console {
    /// Starts one and waits for its link.
    pub(crate) fn of(tree: &Tree, arguments: &[&str]) -> Console {
        Console::at_port(tree, arguments, crate::harness::free_port())
    }

    fn at_port(tree: &Tree, arguments: &[&str], port: u16) -> Console {
        let mut child = tree
            .command()
            .args(["web", "--listen", &format!("127.0.0.1:{port}")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut link = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut link).unwrap();
        Console { child, port, link: link.trim().to_owned(), base: format!("http://127.0.0.1:{port}/") }
    }

    /// It is killed.
    pub(crate) fn kill(&mut self) {
        kill(self.child.id());
        self.child.wait().unwrap();
    }

    /// Starts it anew at the same address, after it was killed.
    pub(crate) fn start_anew(&mut self, tree: &Tree) {
        *self = Console::at_port(tree, &[], self.port);
    }

    /// The address of a view.
    pub(crate) fn at(&self, view: &str) -> String {
        format!("{}#/{view}", self.base)
    }

    /// A page that has logged in by the link.
    pub(crate) fn enter<'a>(&self, browser: &'a Browser, look: Look) -> Page<'a> {
        self.enter_with(browser, look, "")
    }

    /// The same, with a script in it that runs before any of its own.
    pub(crate) fn enter_with<'a>(&self, browser: &'a Browser, look: Look, script: &str) -> Page<'a> {
        let page = browser.open_with(&self.link, look, script);
        page.until("document.querySelector('.rows [role=row]') !== null && document.querySelector('.connection').textContent === 'live'");
        page
    }

    /// Another link.
    pub(crate) fn another(tree: &Tree, view: bool) -> String {
        let arguments: &[&str] = if view { &["web", "--url", "--view"] } else { &["web", "--url"] };
        tree.run(arguments).expect(0).stdout.trim().to_owned()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        signal(self.child.id(), 15);
        let _ = self.child.wait();
    }
}

/// Kills a process of the tree, from outside.
pub(crate) fn kill(pid: u32) {
    signal(pid, 9);
    gone(pid);
}
