//! What a browser makes of the page, with a real tree behind it.

use crate::browser::{Browser, DESK, Look, PHONE, Page};
use crate::console::{Console, kill};
use crate::harness::{Tree, signal, until};
use std::path::PathBuf;

const SHOP: &str = r#"
name = "shop"
strategy = "rest-for-one"
intensity = 50
period = "1m"

[[child]]
name = "db"
command = ["sh", "-c", "echo database ready; exec sleep infinity"]

[[child]]
name = "web"
intensity = 2
period = "1m"

  [[child.child]]
  name = "api"
  command = "sleep infinity"

  [[child.child]]
  name = "jobs"
  command = "sleep infinity"
  count = 3
"#;

/// The row of a name in the tree.
pub(crate) fn row(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('.rows .row')].find((row) => row.querySelector('.name a').textContent === '{name}')"
    )
}

/// What stands in its column.
pub(crate) fn cell(name: &str, column: &str) -> String {
    format!("{}?.querySelector('.{column}').textContent", row(name))
}

/// Presses a key until something holds.
fn press_until(page: &Page, key: &str, holds: &str) {
    for _ in 0..40 {
        if page.eval(holds) == true {
            return;
        }
        page.key(key);
        // What it does is drawn with the next frame.
        page.eval("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(0))))");
    }
    panic!("{key} was pressed 40 times, and it does not hold that {holds}");
}

/// Nothing has gone wrong in a script, and nothing was forbidden by the policy.
#[track_caller]
pub(crate) fn well(page: &Page) {
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn the_link_opens_the_tree_and_a_killed_worker_is_seen_at_once() {
    let Some(browser) = Browser::start() else { return };
    let tree = Tree::start(SHOP);
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    assert_eq!(page.eval("location.hash"), "#/", "the key is not in the address any more");
    assert_eq!(page.eval("document.querySelector('h1').textContent"), "shop");
    for name in ["db", "web", "api", "jobs-1", "jobs-3"] {
        page.until(&format!("{} === '●running'", cell(name, "state")));
    }
    // A page that is loaded anew has its session still.
    page.command("Page.reload", &serde_json::json!({}));
    page.until(&format!(
        "document.querySelector('.connection')?.textContent === 'live' && {} === '●running'",
        cell("db", "state")
    ));
    // From the change in the tree to the change in the document.
    page.eval(&format!("(window.row = {}, window.seen = null, new MutationObserver(() => {{ window.seen ??= Date.now(); }}).observe(window.row.querySelector('.name').nextSibling, {{ subtree: true, childList: true, characterData: true }}), 0)", row("db")));
    let before = tree.pid("/db");
    let begun = page.eval("Date.now()").as_f64().unwrap();
    kill(before);
    page.until(&format!("{} === '2'", cell("db", "number")));
    let took = page.eval("window.seen").as_f64().unwrap() - begun;
    eprintln!("a change in the tree is seen after {took} ms");
    well(&page);
    drop((page, console));
    tree.stop();
}

#[test]
fn a_worker_is_restarted_and_panicked_by_keyboard_alone() {
    let Some(browser) = Browser::start() else { return };
    let tree = Tree::start(SHOP);
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    // From the beginning of the document into the grid, and down to the worker.
    press_until(&page, "Tab", "document.activeElement.getAttribute('role') === 'treegrid'");
    press_until(&page, "ArrowDown", "document.querySelector('.row.active .name a')?.textContent === 'api'");
    page.key(".");
    page.until("document.querySelector('dialog[open]') !== null");
    assert_eq!(page.eval("document.activeElement.textContent"), "Restart");
    // Held down it confirms nothing, and does not close the dialog before the result is seen: by then another button
    // has the focus.
    page.key_held("Enter");
    page.until("document.querySelector('.touches').textContent.startsWith('/web/api will be asked to stop')");
    page.key_up("Enter");
    page.eval(
        "(window.seen = null, ((dialog) => dialog.addEventListener('close', () => { window.seen = dialog.querySelector('.told').textContent; }))\
         (document.querySelector('dialog')), 0)",
    );
    page.key_held("Enter");
    page.key_up("Enter");
    page.until("document.querySelector('dialog') === null");
    let seen = page.eval("window.seen");
    assert!(seen.as_str().unwrap().starts_with("restart /web/api: done"), "{seen}");
    page.until(&format!("{} === '2'", cell("api", "number")));

    // Panic is held down; let go too early, nothing happens.
    let pid = tree.pid("/web/api");
    page.key(".");
    press_until(&page, "Tab", "document.activeElement.textContent === 'Panic'");
    page.key("Enter");
    page.until("document.activeElement.classList.contains('hold')");
    page.key_down("Enter");
    page.until("document.querySelector('.hold.down') !== null");
    page.key_up("Enter");
    page.until("document.querySelector('.hold.down') === null");
    assert_eq!(tree.pid("/web/api"), pid);
    page.key_down("Enter");
    page.until("document.querySelector('.told').textContent !== ''");
    page.key_up("Enter");
    page.until(&format!("{} === '3'", cell("api", "number")));
    page.until("document.activeElement.getAttribute('role') === 'treegrid'");

    // The other keys.
    page.key("Enter");
    page.until("location.hash === '#/p/web/api'");
    page.key("l");
    page.until("location.hash === '#/l/web/api'");
    page.key("Escape");
    page.until("location.hash === '#/p/web/api'");
    page.key("Escape");
    page.until("location.hash === '#/'");
    // The tree is as it was left.
    page.until("document.querySelector('.row.active .name a')?.textContent === 'api'");
    page.key("/");
    page.until("document.activeElement.id === 'search'");
    page.command("Input.insertText", &serde_json::json!({ "text": "jobs-2" }));
    page.until("document.querySelectorAll('.rows .row').length === 3");
    page.key("Escape");
    page.key("Escape");
    page.key("!");
    page.until("document.querySelector('[aria-pressed=true]')?.textContent === 'Only trouble'");
    page.key("?");
    page.until("document.querySelector('dialog[open] h2')?.textContent === 'Keys'");
    well(&page);
    drop((page, console));
    tree.stop();
}

#[test]
fn a_worker_is_panicked_by_touch_on_a_phone() {
    let Some(browser) = Browser::start() else { return };
    let tree = Tree::start(SHOP);
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, PHONE);
    assert_eq!(page.eval("document.documentElement.scrollWidth"), 390, "nothing sticks out");
    let tap = |element: &str| {
        page.touch(element);
        page.let_go();
    };
    tap(&row("api"));
    page.until("location.hash === '#/p/web/api' && document.querySelector('.buttons button') !== null");
    assert_eq!(page.eval("document.documentElement.scrollWidth"), 390);
    tap("[...document.querySelectorAll('.buttons button')].find((one) => one.textContent === 'Panic and hold')");
    page.until("document.querySelector('dialog[open] .hold') !== null");
    page.touch("document.querySelector('.hold')");
    page.until("document.querySelector('.told').textContent !== ''");
    page.let_go();
    page.until("document.querySelector('.state.held') !== null && document.querySelector('dialog') === null");
    assert_eq!(tree.status("/web/api")["state"], "held");
    tap("[...document.querySelectorAll('.buttons button')].find((one) => one.textContent === 'Start')");
    page.until("document.querySelector('dialog[open] .main') !== null");
    tap("document.querySelector('dialog .main')");
    page.until("document.querySelector('.state.running') !== null");
    well(&page);
    drop((page, console));
    tree.stop();
}

#[test]
fn an_action_on_an_incarnation_that_is_over_is_refused() {
    let Some(browser) = Browser::start() else { return };
    let mut tree = Tree::start(SHOP);
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    press_until(&page, "Tab", "document.activeElement.getAttribute('role') === 'treegrid'");
    press_until(&page, "ArrowDown", "document.querySelector('.row.active .name a')?.textContent === 'api'");
    page.key(".");
    page.until("document.activeElement.textContent === 'Restart'");
    page.key("Enter");
    page.until("document.querySelector('.touches') !== null");
    kill(tree.pid("/web/api"));
    tree.incarnation("/web/api", 2);
    let pid = tree.pid("/web/api");
    page.until(&format!("{} === '2'", cell("api", "number")));
    page.key("Enter");
    page.until(
        "document.querySelector('.told').textContent === 'Refused: /web/api is incarnation 2 by now, running; 1 was meant. Nothing was done.'",
    );
    assert_eq!(tree.pid("/web/api"), pid);
    drop((page, console));
    tree.stop();
}

#[test]
fn what_is_scrolled_or_has_the_focus_stays_when_more_happens() {
    let Some(browser) = Browser::start() else { return };
    let mut tree = Tree::start(SHOP);
    kill(tree.pid("/db"));
    tree.incarnation("/db", 2);
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, PHONE);
    let happens = |id: &str, kind: &str, cause: &str| {
        page.eval(&format!(
            "(window.treevisor.console.take('events', [{{ id: '{id}', at: new Date().toISOString(), path: '/db', kind: '{kind}', \
             cause: {cause}, pid: 1, incarnation: 9, code: 7, expected: false, normal: false }}]), 0)"
        ))
    };
    page.go(&console.at("t"));
    page.until(
        "document.querySelector('ol.incidents a') !== null && document.querySelector('svg.times .mark') !== null",
    );
    page.eval(
        "(window.pane = document.querySelector('.timeline .scroll'), pane.scrollLeft = 40, window.picture = pane.firstChild, \
         window.link = document.querySelector('ol.incidents a').getAttribute('href'), document.querySelector('ol.incidents a').focus(), 0)",
    );
    happens("x-1", "exited", "null");
    page.until(
        "pane.firstChild !== picture && document.querySelector('ol.incidents a').textContent.includes('status 7')",
    );
    assert_eq!(page.eval("pane.isConnected && pane.scrollLeft"), 40);
    assert_eq!(page.eval("document.activeElement.getAttribute('href') === link"), true);

    page.go(&console.at("i/x-1"));
    page.until("document.querySelectorAll('ol.steps li').length === 1");
    page.eval("(window.pane = document.querySelector('.one-incident .scroll'), pane.focus(), 0)");
    happens("x-2", "restarting", "'x-1'");
    page.until("document.querySelectorAll('ol.steps li').length === 2");
    assert_eq!(page.eval("document.activeElement === pane"), true);
    well(&page);
    drop((page, console));
    tree.stop();
}

#[test]
fn a_key_for_looking_sees_no_buttons_and_is_refused() {
    let Some(browser) = Browser::start() else { return };
    let tree = Tree::start(SHOP);
    let console = Console::of(&tree, &[]);
    let page = browser.open(&Console::another(&tree, true), DESK);
    page.until(
        "document.querySelector('.rows .row') !== null && document.querySelector('.connection').textContent === 'live'",
    );
    page.until("document.querySelector('.about').textContent.endsWith('looking on')");
    assert_eq!(page.eval("[...document.querySelectorAll('.more')].every((one) => one.hidden)"), true);
    page.go(&console.at("p/web/api"));
    page.until("document.querySelector('.child .verdict') !== null");
    assert_eq!(page.eval("document.querySelectorAll('.child .buttons button').length"), 0);
    page.key(".");
    assert_eq!(page.eval("document.querySelector('dialog')"), serde_json::Value::Null);
    let refused = "(async () => { const csrf = localStorage.getItem('treevisor csrf'); \
                   return (await fetch('api/act', { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Treevisor-CSRF': csrf }, \
                   body: JSON.stringify({ verb: 'restart', path: '/web/api', incarnation: 1 }) })).status; })()";
    assert_eq!(page.eval(refused), 403);
    drop((page, console));
    tree.stop();
}

/// The views, by their addresses; the incident is that of the killed database.
fn views(tree: &Tree) -> Vec<(&'static str, String)> {
    let events = tree.run(&["events", "--json", "/db"]).expect(0).stdout;
    let events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let killed = events.into_iter().find(|event| event["kind"] == "exited").unwrap();
    let incident = format!("i/{}", killed["id"].as_str().unwrap());
    let fixed = [
        ("tree", ""),
        ("child", "p/web/api"),
        ("supervisor", "p/web"),
        ("timeline", "t"),
        ("logs", "l/"),
        ("wall", "wall"),
    ];
    fixed.into_iter().map(|(name, at)| (name, at.to_owned())).chain([("incident", incident)]).collect()
}

/// What of a view shows that it is drawn.
fn drawn(view: &str) -> &'static str {
    match view {
        "tree" => {
            "document.querySelector('.grid')?.getAttribute('aria-rowcount') === '8' && document.querySelector('.rows .row') !== null"
        }
        "child" => "document.querySelector('.child .verdict') !== null",
        "supervisor" => "document.querySelectorAll('.child .children li').length === 4",
        "incident" => "document.querySelector('svg.incident .cross') !== null",
        "timeline" => "document.querySelector('svg.times .mark') !== null",
        "logs" => "document.querySelector('.line bdi')?.textContent.includes('database ready')",
        _ => "document.querySelectorAll('.tile .word').length === 2",
    }
}

/// Each view in each way that it is looked at, in a tree in which something has happened.
fn in_every_look(test: impl Fn(&Page, &str, &str)) {
    let Some(browser) = Browser::start() else { return };
    let mut tree = Tree::start(SHOP);
    kill(tree.pid("/db"));
    tree.incarnation("/web", 2);
    // All below it have been started again by then: what comes after is no part of the incident.
    let is_ready = |event: &serde_json::Value| event["kind"] == "ready" && event["incarnation"] == 2;
    tree.event("/web is ready again", |event| event["path"] == "/web" && is_ready(event));
    // Its supervisor has just been started, and may not answer in time on a busy machine.
    until("a worker is held", || tree.run(&["panic", "--hold", "/web/jobs-2"]).code == Some(0));
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    let looks = [
        ("light", DESK),
        ("dark", Look { dark: true, ..DESK }),
        ("phone", PHONE),
        ("large", Look { width: 1920, height: 1080, ..DESK }),
        ("zoomed", Look { width: 320, height: 256, ..DESK }),
        ("forced", Look { forced_colors: true, ..DESK }),
    ];
    for (view, at) in views(&tree) {
        page.go(&console.at(&at));
        for (name, look) in looks {
            page.look(look);
            page.until(drawn(view));
            test(&page, view, name);
        }
    }
    well(&page);
    drop((page, console));
    tree.stop();
}

/// What of a page has a place: its text without numbers, and from where to where it goes, in percent of the width.
const OUTLINE: &str = "(() => { const kinds = 'h1, h2, h3, button, nav a, label, input, select, [role=columnheader], .panel, .tile, .name a, .legend li, text.name'; \
    const lines = [...document.querySelectorAll(kinds)].filter((one) => one.checkVisibility() && one.getBoundingClientRect().width > 0).map((one) => { \
    const box = one.getBoundingClientRect(); const at = (x) => Math.round((x / innerWidth) * 100); const own = one.matches('.panel, .tile') ? '' : one.textContent; \
    return `${one.localName} ${own.replace(/[0-9][0-9.:]*/g, '#').slice(0, 40)} | ${at(box.left)} ${at(box.right)}`; }); \
    const probe = document.createElement('span'); probe.textContent = 'running /web/api'; document.body.append(probe); const width = Math.round(probe.getBoundingClientRect().width); probe.remove(); \
    return [`ground ${getComputedStyle(document.body).backgroundColor} | ${width} 0`, ...lines].join('\\n'); })()";

/// A line of an outline: what stands there, and its place.
fn placed(line: &str) -> (&str, Vec<i64>) {
    let (what, place) = line.rsplit_once(" | ").unwrap();
    (what, place.split(' ').map(|number| number.parse().unwrap()).collect())
}

/// Holds outlines against those that were checked in; UPDATE_GOLDENS=1 writes them anew. Places are compared where
/// letters are as wide as they were then.
fn hold(seen: &[(String, String)]) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/data/views.txt");
    let text: String = seen.iter().map(|(name, outline)| format!("== {name}\n{outline}\n")).collect();
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let golden = std::fs::read_to_string(file).unwrap();
    for (name, outline) in seen {
        let section = golden.split("== ").find(|section| section.starts_with(&format!("{name}\n")));
        let lines: Vec<&str> = section.unwrap_or_else(|| panic!("{name} was not checked in")).lines().skip(1).collect();
        let now: Vec<&str> = outline.lines().collect();
        let whats = |lines: &[&str]| lines.iter().map(|line| placed(line).0.to_owned()).collect::<Vec<_>>();
        assert_eq!(whats(&now), whats(&lines), "{name}");
        if placed(now[0]).1 != placed(lines[0]).1 {
            eprintln!("notice: letters are of another width here; places are not compared");
            continue;
        }
        for (now, then) in now.iter().zip(&lines) {
            let near = placed(now).1.iter().zip(placed(then).1).all(|(now, then)| (now - then).abs() <= 4);
            assert!(near, "{name}: {now} stood at {then}");
        }
    }
}

#[test]
fn the_columns_of_the_tree_fit_at_every_width() {
    let Some(browser) = Browser::start() else { return };
    let tree = Tree::start(SHOP);
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    // Narrow ones have other rows; 62rem are 992 pixels, 72rem are 1152.
    for width in [320, 700, 991, 992, 993, 1_050, 1_100, 1_151, 1_152, 1_153, 1_280, 1_920] {
        page.look(Look { width, ..DESK });
        page.until(&format!("innerWidth === {width} && document.querySelectorAll('.rows .row').length === 7"));
        let out = page.eval(
            "[...document.querySelectorAll('.rows .row, .rows .more')].filter((one) => { const box = one.getBoundingClientRect(); \
             const note = one.closest('.row').querySelector('.note').getBoundingClientRect(); \
             return box.width === 0 || box.right > innerWidth || note.right > innerWidth; }).map((one) => one.outerHTML.slice(0, 80)).join()",
        );
        assert_eq!(out, "", "{width}");
        assert_eq!(page.eval("document.documentElement.scrollWidth - innerWidth"), 0, "{width}");
        page.picture(&format!("width-{width}"));
    }
    well(&page);
    drop((page, console));
    tree.stop();
}

#[test]
fn every_view_is_drawn_in_every_look() {
    let seen = std::cell::RefCell::new(Vec::new());
    in_every_look(|page, view, look| {
        page.picture(&format!("{view}-{look}"));
        let width = page.eval("document.documentElement.scrollWidth - innerWidth");
        assert_eq!(width, 0, "{view}, {look}: it has to be scrolled both ways");
        // What can be pressed or heads something is not cut off.
        let lost = page.eval(
            "[...document.querySelectorAll('main button, main a, main h2, main h3')].filter((one) => { const box = one.getBoundingClientRect(); \
             return box.width > 0 && !one.closest('.scroll') && (box.left < -1 || box.right > innerWidth + 1); }).map((one) => one.outerHTML.slice(0, 80)).join()",
        );
        assert_eq!(lost, "", "{view}, {look}");
        if ["light", "dark", "phone", "forced"].contains(&look) {
            let outline = page.eval(OUTLINE).as_str().unwrap().to_owned();
            seen.borrow_mut().push((format!("{view}, {look}"), outline));
        }
    });
    if !seen.borrow().is_empty() {
        hold(&seen.borrow());
    }
}

#[test]
fn no_view_is_closed_to_those_who_see_or_hear_it_otherwise() {
    let axe = std::env::var_os("NODE_PATH").map(|path| PathBuf::from(path).join("axe-core/axe.min.js"));
    let Some(axe) = axe.filter(|path| path.is_file()) else {
        eprintln!("notice: axe-core is not in NODE_PATH; the page is not checked by it");
        return;
    };
    let axe = std::fs::read_to_string(axe).unwrap();
    in_every_look(|page, view, look| {
        // What a page brings along is let in by no policy; what is evaluated from outside is.
        if page.eval("typeof window.axe") != "object" {
            page.eval(&format!("{axe}; 0"));
        }
        let found = page.eval(
            "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then(({ violations }) => \
             violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => html.slice(0, 160) + ' ' + failureSummary).join(' | ')}`).join('\\n'))",
        );
        assert_eq!(found, "", "{view}, {look}");
    });
}

#[test]
fn the_root_is_stopped_continued_killed_and_started_anew() {
    let Some(browser) = Browser::start() else { return };
    let mut tree = Tree::start(SHOP);
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    signal(tree.root_pid(), 19);
    page.until("document.documentElement.classList.contains('stale') && document.querySelector('#notice').textContent.includes('does not answer')");
    assert_eq!(page.eval("document.querySelectorAll('.rows .row').length"), 7, "the last picture stays");
    signal(tree.root_pid(), 18);
    page.until("!document.documentElement.classList.contains('stale')");
    signal(tree.root_pid(), 9);
    page.until("document.querySelector('#notice').textContent.includes('does not run')");
    assert_eq!(page.eval("document.querySelectorAll('.rows .row').length"), 7, "the last picture stays");
    tree.wait();
    let mut again = tree
        .command()
        .args(["start", "tree.toml"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    page.until("!document.documentElement.classList.contains('stale')");
    page.until(&format!("{} === '●running'", cell("api", "state")));
    signal(again.id(), 15);
    again.wait().unwrap();
    drop((page, console));
}

#[test]
fn a_console_that_is_a_worker_says_so_and_its_page_comes_back() {
    let Some(browser) = Browser::start() else { return };
    let port = crate::harness::free_port();
    let mut tree = Tree::start(&format!(
        "name = \"shop\"\n[[child]]\nname = \"console\"\ncommand = [\"{}\", \"web\", \"--listen\", \"127.0.0.1:{port}\"]\n\
         ready = \"notify\"\nheartbeat = {{ interval = \"2s\", misses = 5 }}\n",
        crate::harness::TREEVISOR
    ));
    let page = browser.open(&Console::another(&tree, false), DESK);
    page.until(&format!("{}?.startsWith('this page')", cell("console", "note")));
    press_until(&page, "Tab", "document.activeElement.getAttribute('role') === 'treegrid'");
    press_until(&page, "ArrowDown", "document.querySelector('.row.active .name a')?.textContent === 'console'");
    page.key(".");
    page.until("document.activeElement.textContent === 'Restart'");
    page.key("Enter");
    page.until("document.querySelector('.touches').textContent.endsWith('the page will lose its connection.')");
    page.key("Enter");
    tree.incarnation("/console", 2);
    page.until(&format!(
        "document.querySelector('.connection').textContent === 'live' && {} === '2'",
        cell("console", "number")
    ));
    drop(page);
    tree.stop();
}

#[test]
fn what_a_worker_prints_is_text() {
    let Some(browser) = Browser::start() else { return };
    let print = r#"import os, socket, sys, time
status = b'STATUS=<script>window.bad = 1</script><img src=x onerror="window.bad = 1">'
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(status, os.environ['NOTIFY_SOCKET'])
w = sys.stdout.buffer
w.write(b'x' * (1 << 20) + b' the end\n')
w.write(b'<script>window.bad = 1</script><img src=x onerror="window.bad = 1">\n')
w.write(b'\x1b[31mred\x1b[0m \x1b]0;title\x07 bell\n')
w.write('right to left: \u202e olleh \u05d0\u05d1\n'.encode())
w.write(b'last line\n')
w.flush()
time.sleep(1e6)"#;
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        eprintln!("notice: there is no Python; what a worker prints is not looked at");
        return;
    }
    let tree = Tree::start(&format!(
        "name = \"shop\"\n[[child]]\nname = \"loud\"\nheartbeat = {{ interval = \"1000s\", source = \"notify\" }}\n\
         command = [\"python3\", \"-c\", '''{print}''']\n"
    ));
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    // Its status, in both views that have it.
    page.until(&format!("{}?.includes('<script>window.bad = 1</script><img src=x onerror')", cell("loud", "note")));
    page.go(&console.at("p/loud"));
    page.until("[...document.querySelectorAll('dd')].some((fact) => fact.textContent.startsWith('<script>'))");
    assert_eq!(page.eval("document.querySelectorAll('#main script, #main img').length"), 0);
    page.go(&console.at("l/loud"));
    // The view before has lines, too.
    page.until("document.title.startsWith('Output of /loud') && [...document.querySelectorAll('.line bdi')].some((line) => line.textContent === 'last line')");
    assert_eq!(page.eval("window.bad"), serde_json::Value::Null);
    assert_eq!(page.eval("document.querySelectorAll('.lines script, .lines img').length"), 0);
    let text = page.text();
    assert!(text.contains("<script>window.bad = 1</script><img src=x onerror"), "{text:.500}");
    assert!(!text.contains('\x1b') && !text.contains('\x07'));
    assert_eq!(page.eval("document.documentElement.scrollWidth"), 1280);
    well(&page);
    drop((page, console));
    tree.stop();
}

#[test]
fn ten_thousand_rows_are_few_elements() {
    let Some(browser) = Browser::start() else { return };
    let tree = Tree::start(SHOP);
    let console = Console::of(&tree, &[]);
    let page = console.enter(&browser, DESK);
    // The same rows that a tree of that size has, given to the page's own model; a tree of 10,000 processes is no
    // test's to start.
    let grown = page.eval(
        "(async () => { const { console } = window.treevisor; const Tree = console.tree.constructor; \
         const begun = performance.now(); const names = ['shop'], parent = [null], kind = ['supervisor']; \
         for (let s = 0; s < 50; s += 1) { const at = names.push(`s${s}`) - 1; parent.push(0); kind.push('supervisor'); \
         for (let w = 0; w < 200; w += 1) { names.push(`w${w}`); parent.push(at); kind.push('worker'); } } \
         const all = (value) => names.map(() => value); \
         console.stream.close(); console.tree = Tree.from({ parent, name: names, kind, state: all('running'), pid: all(1), incarnation: all(1), restarts: all(0) }, Date.now()); \
         console.changed(); await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame); return performance.now() - begun; })()",
    );
    let load = grown.as_f64().unwrap();
    page.until("document.querySelector('.grid').getAttribute('aria-rowcount') === '10052'");
    let frames = page.eval(
        "(async () => { const { console } = window.treevisor; let frames = 0, n = 0; const begun = performance.now(); \
         const change = setInterval(() => { const rows = []; for (let at = 0; at < 100; at += 1) { n += 1; const row = console.tree.rows[1 + (n * 7919) % 10050]; \
         rows.push({ path: row.path, state: n % 2 ? 'starting' : 'running', restarts: n, usage: { cpu_ms: n, memory_bytes: n * 1000, processes: 1 } }); } console.take('rows', rows); }, 100); \
         while (performance.now() - begun < 4000) { await new Promise(requestAnimationFrame); frames += 1; if (frames % 5 === 0) scrollTo(0, (frames * 700) % 290000); } \
         clearInterval(change); return frames / 4; })()",
    );
    let frames = frames.as_f64().unwrap();
    let elements = page.eval("document.querySelectorAll('*').length").as_u64().unwrap();
    page.command("HeapProfiler.collectGarbage", &serde_json::json!({}));
    let heap = page.command("Runtime.getHeapUsage", &serde_json::json!({}))["usedSize"].as_f64().unwrap();
    eprintln!(
        "10,051 rows: {load:.0} ms, {frames:.0} frames a second, {elements} elements, heap of {:.1} MB",
        heap / 1e6
    );
    assert!(elements < 1_000, "{elements} elements");
    assert!(heap < 30e6, "{heap} bytes");
    well(&page);
    drop((page, console));
    tree.stop();
}
