//! The clients that follow the events of a tree: `follow` in Python, for loops and for asyncio, and in Node.js.

use crate::harness::*;
use crate::languages::{self, Language, Words};
use std::process::{Command, Stdio};

const TREE: &str = r#"
name = "lab"
intensity = 10
[[child]]
name = "victim"
command = ["sleep", "1000"]
[[child]]
name = "other"
command = ["sleep", "1000"]
"#;

/// A program of a few lines in the directory of a tree. It prints one JSON value.
fn program(language: Language, tree: &Tree, interpreter: &Words, code: &str) -> Command {
    let mut command = Command::new(&interpreter[0]);
    command.args([if language == Language::Node { "-e" } else { "-c" }, code]).current_dir(tree.dir());
    command.env("TREEVISOR_RUNTIME_DIR", tree.dir().join("run")).env("TREEVISOR_STATE_DIR", tree.dir().join("state"));
    command.env("TREEVISOR_EXE", TREEVISOR).stdin(Stdio::null());
    command.env_remove("TREEVISOR_INSTANCE").envs(language.environment(tree.dir()));
    command
}

/// Runs a program to its end, beside which `victim` was panicked.
fn print(language: Language, interpreter: &Words, code: &str, expected: serde_json::Value) {
    let mut tree = Tree::start(TREE);
    tree.run(&["panic", "/victim"]).expect(0);
    tree.incarnation("/victim", 2);
    let child =
        program(language, &tree, interpreter, code).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(gone_within(child.id(), LIMIT), "it does not end");
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.expect(0).json(), expected, "{code}");
    tree.stop();
}

/// Both transports of Python, each as its words and what hides pyzmq.
fn python(code: &str, expected: &serde_json::Value) {
    let words: Words = match languages::python() {
        Ok(python) => vec![python.into()],
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let hidden = format!("import sys; sys.modules['zmq'] = None\n{code}");
    print(Language::Python, &words, &hidden, expected.clone());
    match languages::python_with_zmq() {
        Ok(_) => print(Language::Python, &words, code, expected.clone()),
        Err(why) => eprintln!("skipped: {why}"),
    }
}

#[test]
fn python_follows_in_a_loop_and_leaves_it() {
    python(
        "import json, threading, treevisor
seen = []
for event in treevisor.follow('/victim'):
    seen.append(event['kind'])
    if event['kind'] == 'started' and event['incarnation'] == 2:
        break
with treevisor.follow('/victim') as events:
    first = next(events)
    early = events.wait(0.05)
    while events.wait(0.3) is not None:
        pass
    # Nothing more happens: a wait ends when the stream is closed from elsewhere.
    threading.Timer(0.1, events.close).start()
    rest = list(events)
try:
    next(treevisor.follow('/victim', 'nobody'))
except treevisor.NoInstance:
    missing = True
try:
    next(treevisor.follow('/nowhere'))
    refused = None
except treevisor.Refused as error:
    refused = error.why
print(json.dumps([seen[-3:], first['kind'], early is not None, rest, missing, refused, events.lost]))
",
        &serde_json::json!([["restarting", "starting", "started"], "starting", true, [], true, "no_such_path", 0]),
    );
}

#[test]
fn python_follows_beside_other_tasks() {
    python(
        "import asyncio, json, treevisor
async def main():
    turns = 0
    async def turn():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)
    task = asyncio.create_task(turn())
    seen = []
    async with treevisor.follow('/victim') as events:
        async for event in events:
            seen.append(event['kind'])
            if event['kind'] == 'started' and event['incarnation'] == 2:
                break
        try:
            while True:
                await asyncio.wait_for(events.__anext__(), 0.5)
        except asyncio.TimeoutError:
            pass
        # The task that waited was cancelled, and the next may wait again.
        waits = asyncio.create_task(events.__anext__())
        await asyncio.sleep(0.05)
    try:
        await waits
    except StopAsyncIteration:
        seen.append('closed')
    task.cancel()
    print(json.dumps([seen[-3:], turns > 10]))
asyncio.run(main())
",
        &serde_json::json!([["starting", "started", "closed"], true]),
    );
}

#[test]
fn node_follows_and_leaves() {
    if let Err(why) = languages::node() {
        return eprintln!("skipped: {why}");
    }
    print(
        Language::Node,
        &vec!["node".into()],
        "const { follow } = require('treevisor');
        (async () => {
            const seen = [];
            for await (const event of follow('/victim')) {
                seen.push(event.kind);
                if (event.kind === 'started' && event.incarnation === 2) break;
            }
            const events = follow('/victim');
            const first = (await events.next()).value.kind;
            setTimeout(() => events.close(), 300);
            let more = 0;
            for await (const _ of events) more++;
            const after = (await events.next()).done;
            const missing = await follow('/', { instance: 'nobody' }).next().catch((error) => error.code);
            const refused = await follow('/nowhere').next().catch((error) => error.code);
            console.log(JSON.stringify([seen.slice(-3), first, more > 3, after, missing, refused, events.lost]));
        })();",
        serde_json::json!([
            ["restarting", "starting", "started"],
            "starting",
            true,
            true,
            "no_instance",
            "no_such_path",
            0
        ]),
    );
}
