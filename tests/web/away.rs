//! A page that was away: what it has missed is there when it is back, once.

use crate::browser::{Browser, DESK, Page};
use crate::console::{Console, kill};
use crate::harness::{Tree, until};
use crate::page::{cell, well};
use std::fs::File;
use std::io::Write;

/// A worker that prints the lines of `said` as they are added to it, and one to be killed.
const TALK: &str = r#"
name = "shop"
intensity = 50
period = "1m"

[[child]]
name = "db"
command = "sleep infinity"

[[child]]
name = "talks"
command = ["sh", "-c", "exec tail -n +1 -F said 2>/dev/null"]
"#;

/// Says a line, and waits until the tree has it.
fn say(tree: &Tree, line: &str) {
    // Added to the file: what is written anew is empty for a moment, and tail(1) prints all of it again then.
    let mut said = File::options().create(true).append(true).open(tree.dir().join("said")).unwrap();
    writeln!(said, "{line}").unwrap();
    until(line, || tree.run(&["logs", "/talks"]).stdout.contains(line));
}

/// The lines of output that are shown.
fn shown(page: &Page) -> Vec<String> {
    let lines = page.eval("[...document.querySelectorAll('.line')].map((line) => line.querySelector('bdi')?.textContent ?? line.textContent)");
    serde_json::from_value(lines).unwrap()
}

/// Whether a line is shown.
fn shows(line: &str) -> String {
    format!("[...document.querySelectorAll('.line bdi')].some((one) => one.textContent === '{line}')")
}

/// The starts of a worker that the page knows of.
fn starts(path: &str) -> String {
    format!(
        "window.treevisor.console.events.filter(({{ kind, path }}) => kind === 'started' && path === '{path}').map(({{ incarnation }}) => incarnation).join()"
    )
}

#[test]
fn a_line_that_is_printed_before_the_stream_has_output_is_shown() {
    let Some(browser) = Browser::start() else { return };
    let tree = Tree::start(TALK);
    let console = Console::of(&tree, &[]);
    // What the page asks for of the stream is kept back, as on a busy machine.
    let page = console.enter_with(
        &browser,
        DESK,
        "{ const send = window.fetch; window.held = []; window.fetch = async (url, ...rest) => { \
         if (String(url).endsWith('api/view') && location.hash.startsWith('#/l/') && window.held) await new Promise((go) => window.held.push(go)); \
         return send(url, ...rest); }; }",
    );
    page.go(&console.at("l/talks"));
    page.until("document.querySelector('.lines .empty') !== null && window.held.length > 0");
    say(&tree, "in between");
    assert!(shown(&page).is_empty());
    // From here on nothing is kept back: what was may have been asked for before the page turned to the stream.
    page.eval("(window.held.splice(0).forEach((go) => go()), (window.held = null), 0)");
    page.until(&shows("in between"));
    say(&tree, "later");
    page.until(&shows("later"));
    assert_eq!(shown(&page), ["in between", "later"]);
    well(&page);
    drop((page, console));
    tree.stop();
}

#[test]
fn another_page_that_reads_output_takes_none_from_the_first() {
    let Some(browser) = Browser::start() else { return };
    let tree = Tree::start(TALK);
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    page.go(&console.at("l/talks"));
    say(&tree, "one");
    page.until(&shows("one"));
    let mut lines = vec!["one".to_owned()];
    // Each other subtree that is read is another reader of all of them.
    let other = browser.open(&Console::another(&tree, true), DESK);
    other.until("document.querySelector('.connection')?.textContent === 'live'");
    for (at, view) in ["l/", "p/db", "l/talks", "p/db", "l/"].into_iter().enumerate() {
        other.go(&console.at(view));
        let line = format!("at {at}");
        say(&tree, &line);
        page.until(&shows(&line));
        lines.push(line);
    }
    assert_eq!(shown(&page), lines);
    other.until("document.querySelectorAll('.line bdi').length === 6");
    drop((page, other, console));
    tree.stop();
}

/// Makes a page one that is not seen, or is seen again.
fn hide(page: &Page, hidden: bool) {
    page.eval(&format!(
        "(Object.defineProperty(document, 'hidden', {{ configurable: true, value: {hidden} }}), document.dispatchEvent(new Event('visibilitychange')), 0)"
    ));
}

/// The half minute after which a hidden page closes its stream is a moment here.
const HASTE: &str = "{ const wait = window.setTimeout; window.setTimeout = (act, ms, ...rest) => wait(act, ms === 30000 ? 100 : ms, ...rest); }";

#[test]
fn a_hidden_page_closes_its_stream_and_has_all_when_it_is_seen_again() {
    let Some(browser) = Browser::start() else { return };
    let mut tree = Tree::start(TALK);
    let console = Console::of(&tree, &[]);
    let page = console.enter_with(&browser, DESK, HASTE);
    page.go(&console.at("l/talks"));
    say(&tree, "seen");
    page.until(&shows("seen"));
    hide(&page, true);
    page.until("document.querySelector('.connection').textContent === 'paused'");
    assert_eq!(page.eval("window.treevisor.console.stream.source"), serde_json::Value::Null);
    say(&tree, "unseen");
    kill(tree.pid("/db"));
    tree.incarnation("/db", 2);
    assert_eq!(shown(&page), ["seen"]);
    hide(&page, false);
    page.until("document.querySelector('.connection').textContent === 'live'");
    page.until(&shows("unseen"));
    page.until(&format!("{} === '1,2'", starts("/db")));
    assert_eq!(shown(&page), ["seen", "unseen"]);
    page.go(&console.at(""));
    page.until(&format!("{} === '2'", cell("db", "number")));
    // One that is looked at again at once has kept its stream.
    let stream = "window.treevisor.console.name";
    let before = page.eval(stream);
    page.eval("(window.setTimeout = (act, ms) => 0, 0)");
    hide(&page, true);
    hide(&page, false);
    say(&tree, "still");
    assert_eq!(page.eval(stream), before);
    assert_eq!(page.eval("document.querySelector('.connection').textContent"), "live");
    well(&page);
    drop((page, console));
    tree.stop();
}

#[test]
fn of_seven_pages_those_that_leave_no_connection_for_requests_go_without_a_stream() {
    let Some(browser) = Browser::start() else { return };
    let tree = Tree::start(TALK);
    let console = Console::of(&tree, &[]);
    // Behind others a page is not drawn.
    let stream = "window.treevisor?.console.connection";
    // All are in view, and the time after which a stream is tried again is some seconds.
    let haste = HASTE.replace("30000 ? 100", "45000 ? 5000");
    let script = format!("Object.defineProperty(document, 'hidden', {{ value: false }}); {haste}");
    let mut pages = vec![console.enter_with(&browser, DESK, &script)];
    for _ in 1..7 {
        let page = browser.open_with(&console.at(""), DESK, &script);
        let state = if pages.len() < 5 { "live" } else { "crowded" };
        page.until(&format!("{stream} === '{state}' && {} === '●running'", cell("db", "state")));
        pages.push(page);
    }
    pages[6].until("document.body.innerText.includes('close other tabs')");
    // Requests of all are answered.
    for page in &pages {
        assert_eq!(page.eval("fetch('api/status').then((answer) => answer.status)"), 200);
    }
    pages.drain(..2).for_each(|page| page.go("about:blank"));
    for page in &pages {
        page.until(&format!("{stream} === 'live'"));
    }
    drop((pages, console));
    tree.stop();
}

#[test]
fn a_page_whose_console_was_killed_goes_on_with_the_next_and_has_missed_nothing() {
    let Some(browser) = Browser::start() else { return };
    let mut tree = Tree::start(TALK);
    let mut console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    page.go(&console.at("l/talks"));
    say(&tree, "before");
    page.until(&shows("before"));
    console.kill();
    page.until("document.documentElement.classList.contains('stale') && document.querySelector('#notice').textContent.includes('The console does not answer')");
    say(&tree, "meanwhile");
    kill(tree.pid("/db"));
    tree.incarnation("/db", 2);
    assert_eq!(shown(&page), ["before"], "the last picture stays");
    console.start_anew(&tree);
    page.until("document.querySelector('.connection').textContent === 'live'");
    page.until(&shows("meanwhile"));
    say(&tree, "after");
    page.until(&shows("after"));
    assert_eq!(shown(&page), ["before", "meanwhile", "after"]);
    page.until(&format!("{} === '1,2'", starts("/db")));
    // A console that did not have all events yet had the page fetch the tree; what has changed meanwhile is shown then.
    let notice = page.eval("document.querySelector('#notice').textContent");
    assert!(
        ["", "Meanwhile 1 child is of another incarnation.Dismiss"].contains(&notice.as_str().unwrap()),
        "{notice}"
    );
    kill(tree.pid("/db"));
    page.go(&console.at(""));
    page.until(&format!("{} === '3'", cell("db", "number")));
    page.until(&format!("{} === '1,2,3'", starts("/db")));
    well(&page);
    drop((page, console));
    tree.stop();
}

#[test]
fn a_page_that_is_ahead_of_its_console_has_no_event_twice() {
    let Some(browser) = Browser::start() else { return };
    let mut tree = Tree::start(TALK);
    let mut console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    // Its number is one that the root has not reached, as where a page outlives its last event.
    console.kill();
    page.eval("(window.treevisor.console.stream.next += 1000, 0)");
    kill(tree.pid("/db"));
    tree.incarnation("/db", 2);
    console.start_anew(&tree);
    page.until("document.querySelector('.connection').textContent === 'live'");
    page.until(&format!("{} === '2'", cell("db", "number")));
    kill(tree.pid("/db"));
    page.until(&format!("{} === '3'", cell("db", "number")));
    page.until(&format!("{} === '1,2,3'", starts("/db")));
    well(&page);
    drop((page, console));
    tree.stop();
}

#[test]
fn a_key_that_is_being_typed_is_not_wiped_out_by_a_stream_that_has_ended() {
    let Some(browser) = Browser::start() else { return };
    let tree = Tree::start(TALK);
    let console = Console::of(&tree, &[]);
    let page = console.enter_with(&browser, DESK, HASTE);
    tree.run(&["web", "--new-keys"]).expect(0);
    page.until("document.querySelector('#key') !== null");
    // Each attempt to connect would make the form anew: the next one would come within three seconds.
    page.eval("(window.tried = 0, window.form = document.querySelector('#key'), window.form.value = 'half', 0)");
    page.eval(
        "(() => { const send = window.fetch; window.fetch = (...all) => { window.tried += 1; return send(...all); }; })()",
    );
    hide(&page, true);
    hide(&page, false);
    page.eval("new Promise((on) => setTimeout(on, 3000))");
    assert_eq!(page.eval("document.querySelector('#key') === window.form && window.form.value"), "half");
    assert_eq!(page.eval("window.tried"), 0);
    drop((page, console));
    tree.stop();
}
