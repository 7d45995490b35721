//! Chromium, driven over its debugging pipe: commands as JSON with a zero byte behind, on descriptors 3 and 4. No port,
//! no driver, no crate; the few commands that are used stand at <https://chromedevtools.github.io/devtools-protocol>.

use crate::harness::LIMIT;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// A phone: touch, and no wider than its screen.
    pub(crate) mobile: bool,
    pub(crate) dark: bool,
    pub(crate) forced_colors: bool,
}

pub(crate) const DESK: Look = Look { width: 1280, height: 800, mobile: false, dark: false, forced_colors: false };
pub(crate) const PHONE: Look = Look { width: 390, height: 844, mobile: true, ..DESK };

/// A browser with a profile of its own.
pub(crate) struct Browser {
    child: Child,
    pipe: RefCell<Pipe>,
    _profile: tempfile::TempDir,
}

struct Pipe {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    next: u64,
    /// What a page has complained of.
    complaints: Vec<String>,
}

/// A page of it.
pub(crate) struct Page<'a> {
    browser: &'a Browser,
    session: String,
}

impl Browser {
    /// Starts one; `None`, with a notice, where there is none, or where it does not start. That is a failure where
    /// `TREEVISOR_TEST_CHROMIUM` is set, as `.ci/run` does.
    pub(crate) fn start() -> Option<Browser> {
        let names = ["chromium", "chromium-headless-shell", "google-chrome"];
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let there = |name: &&&str| std::env::split_paths(&paths).any(|path| path.join(name).is_file());
        let Some(name) = names.iter().find(there) else {
            eprintln!("notice: there is no Chromium; the page is not looked at");
            return None;
        };
        let profile = tempfile::Builder::new().prefix("tvb").tempdir().unwrap();
        // Its descriptors 3 and 4 are our pipe; it ends with it. As root it has no sandbox.
        let script = "exec \"$0\" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --disable-dev-shm-usage \
                      --remote-debugging-pipe --user-data-dir=\"$1\" about:blank 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut child = Command::new("sh")
            .args(["-c", script, name, profile.path().to_str().unwrap()])
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let pipe = Pipe { to, from, next: 0, complaints: Vec::new() };
        let browser = Browser { child, pipe: RefCell::new(pipe), _profile: profile };
        let version = browser.pipe.borrow_mut().call(None, "Browser.getVersion", &json!({}));
        if version.is_none() {
            let has_to = std::env::var_os("TREEVISOR_TEST_CHROMIUM").is_some();
            assert!(!has_to, "{name} is there and does not start");
            eprintln!("notice: Chromium does not start here; the page is not looked at");
            return None;
        }
        Some(browser)
    }

    /// Opens a page at an address.
    pub(crate) fn open(&self, url: &str, look: Look) -> Page<'_> {
        self.open_with(url, look, "")
    }

    /// Opens a page in which a script runs before any of its own.
    pub(crate) fn open_with(&self, url: &str, look: Look, script: &str) -> Page<'_> {
        let target = self.call(None, "Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call(None, "Target.attachToTarget", &attach)["sessionId"].as_str().unwrap().to_owned();
        let page = Page { browser: self, session };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, &json!({}));
        }
        page.look(look);
        page.call("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": script }));
        page.call("Page.navigate", &json!({ "url": url }));
        page
    }

    fn call(&self, session: Option<&str>, method: &str, parameters: &Value) -> Value {
        let answer = self.pipe.borrow_mut().call(session, method, parameters).expect("the browser has ended");
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }
}

impl Pipe {
    /// Asks, and reads until the answer; `None` at the end of the browser.
    fn call(&mut self, session: Option<&str>, method: &str, parameters: &Value) -> Option<Value> {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).ok()?;
        loop {
            let mut bytes = Vec::new();
            if self.from.read_until(0, &mut bytes).ok()? == 0 {
                return None;
            }
            bytes.pop();
            let said: Value = serde_json::from_slice(&bytes).unwrap();
            if said["id"] == self.next {
                return Some(said);
            }
            match said["method"].as_str() {
                Some("Runtime.exceptionThrown") => {
                    self.complaints.push(said["params"]["exceptionDetails"].to_string());
                }
                // A refused request is reported too; whether it should be refused is for the test.
                Some("Log.entryAdded") if said["params"]["entry"]["source"] != "network" => {
                    self.complaints.push(said["params"]["entry"]["text"].to_string());
                }
                _ => {}
            }
        }
    }
}

impl Page<'_> {
    fn call(&self, method: &str, parameters: &Value) -> Value {
        self.browser.call(Some(&self.session), method, parameters)
    }

    pub(crate) fn look(&self, look: Look) {
        let Look { width, height, mobile, dark, forced_colors } = look;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        self.call("Emulation.setTouchEmulationEnabled", &json!({ "enabled": mobile }));
        let features = json!([
            { "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } },
            { "name": "forced-colors", "value": if forced_colors { "active" } else { "none" } },
        ]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// What an expression of JavaScript, or a promise, comes to.
    #[track_caller]
    pub(crate) fn eval(&self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression holds, frame by frame.
    #[track_caller]
    pub(crate) fn until(&self, expression: &str) {
        let begun = Instant::now();
        // A document that is being replaced takes the promise with it; it is asked for anew.
        while begun.elapsed() < LIMIT {
            let wait = format!(
                "(async () => {{ for (let n = 0; n < 40; n += 1) {{ if ({expression}) return true; \
                 await new Promise((on) => setTimeout(on, 25)); }} return false; }})()"
            );
            let asked = json!({ "expression": wait, "awaitPromise": true, "returnByValue": true });
            let answer = self.browser.pipe.borrow_mut().call(Some(&self.session), "Runtime.evaluate", &asked);
            let answer = answer.expect("the browser has ended");
            if answer["result"]["result"]["value"] == true {
                return;
            }
        }
        panic!("it does not become true that {expression}; the page is:\n{}", self.text());
    }

    /// All that is written on the page.
    pub(crate) fn text(&self) -> String {
        self.eval("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Presses a key and lets it go.
    pub(crate) fn key(&self, key: &str) {
        self.key_down(key);
        self.call("Input.dispatchKeyEvent", &json!({ "type": "keyUp", "key": key }));
    }

    /// Presses a key and does not let it go.
    pub(crate) fn key_down(&self, key: &str) {
        self.key_goes_down(key, false);
    }

    /// Holds a key down for so long that the keyboard repeats it some times.
    pub(crate) fn key_held(&self, key: &str) {
        self.key_down(key);
        (0..5).for_each(|_| self.key_goes_down(key, true));
    }

    fn key_goes_down(&self, key: &str, repeats: bool) {
        let mut event = json!({ "type": "keyDown", "key": key, "autoRepeat": repeats });
        match key {
            "Enter" => (event["text"], event["windowsVirtualKeyCode"]) = (json!("\r"), json!(13)),
            "Tab" => event["windowsVirtualKeyCode"] = json!(9),
            key if key.chars().count() == 1 => event["text"] = json!(key),
            _ => {}
        }
        self.call("Input.dispatchKeyEvent", &event);
    }

    /// Lets a key go.
    pub(crate) fn key_up(&self, key: &str) {
        self.call("Input.dispatchKeyEvent", &json!({ "type": "keyUp", "key": key }));
    }

    /// Puts a finger on the middle of an element.
    #[track_caller]
    pub(crate) fn touch(&self, element: &str) {
        let middle = format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{ block: 'center' }}); const box = e.getBoundingClientRect(); \
             return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }}; }})()"
        );
        let points = json!([self.eval(&middle)]);
        self.call("Input.dispatchTouchEvent", &json!({ "type": "touchStart", "touchPoints": points }));
    }

    /// Takes it away.
    pub(crate) fn let_go(&self) {
        self.call("Input.dispatchTouchEvent", &json!({ "type": "touchEnd", "touchPoints": [] }));
    }

    /// A picture, as base64 of a PNG, written to a file where `SCREENSHOTS` names a directory.
    pub(crate) fn picture(&self, name: &str) {
        let Some(directory) = std::env::var_os("SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let file = Path::new(&directory).join(format!("{name}.png.base64"));
        std::fs::write(file, shot["data"].as_str().unwrap()).unwrap();
    }

    /// Goes to another address.
    pub(crate) fn go(&self, url: &str) {
        self.call("Page.navigate", &json!({ "url": url }));
    }

    /// What the browser has complained of since the last call: errors of scripts, and what the policy has forbidden.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.eval("0");
        std::mem::take(&mut self.browser.pipe.borrow_mut().complaints)
    }

    /// A command of the protocol.
    pub(crate) fn command(&self, method: &str, parameters: &Value) -> Value {
        self.call(method, parameters)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.pipe.borrow_mut().call(None, "Browser.close", &json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
