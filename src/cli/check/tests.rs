use super::*;
use crate::ids::Name;
use crate::spec;
use crate::spec::policy::SupervisorPolicy;
use crate::spec::tree::Hooks;

fn worker(name: &str, command: &[&str], group: Option<u32>) -> ChildSpec {
    ChildSpec {
        name: Name::parse(name).unwrap(),
        policy: ChildPolicy { group, ..ChildPolicy::default() },
        kind: ChildKind::Worker(Box::new(ExecSpec::new(command.iter().map(|word| (*word).into()).collect()))),
        added: false,
        behind: false,
    }
}

fn shop() -> TreeSpec {
    let mut api = worker("api", &["./api", "--port", "8080", "two words"], None);
    api.policy.restart = Restart::Transient;
    api.policy.heartbeat = Some(Heartbeat { grace: Span::from_secs(10), ..Heartbeat::default() });
    api.policy.ready = Ready::Heartbeat;
    let jobs = (1..=4).map(|n| worker(&format!("jobs-{n}"), &["./jobs"], Some(1)));
    let web = ChildSpec {
        name: Name::parse("web").unwrap(),
        policy: ChildPolicy {
            shutdown: Shutdown::Infinity,
            heartbeat: Some(Heartbeat::default()),
            ..ChildPolicy::default()
        },
        kind: ChildKind::Supervisor(Box::new(SupervisorSpec {
            policy: SupervisorPolicy {
                strategy: Strategy::RestForOne,
                intensity: Intensity { max: Some(5), period: Span::from_secs(60) },
                ..SupervisorPolicy::default()
            },
            hooks: Hooks::default(),
            resources: Resources::default(),
            placement: None,
            children: std::iter::once(api).chain(jobs).collect(),
        })),
        added: false,
        behind: false,
    };
    TreeSpec {
        name: Name::parse("shop").unwrap(),
        containment: Containment::Auto,
        journal: None,
        placement: None,
        root: SupervisorSpec {
            policy: SupervisorPolicy { strategy: Strategy::OneForAll, ..SupervisorPolicy::default() },
            hooks: Hooks::default(),
            resources: Resources::default(),
            placement: None,
            children: vec![worker("db", &["postgres", "-D", "data"], None), web],
        },
    }
}

#[test]
fn the_tree_is_drawn_with_its_rules() {
    assert_eq!(
        draw(&shop(), Look { unicode: true, ..Look::PLAIN }),
        "\
shop: 2 supervisors, 6 workers, containment by cgroup where possible

TREE                    RULES                                                      COMMAND
shop                    one-for-all, 3 restarts in 30s
├─ db                   permanent, stop 5s                                         postgres -D data
└─ web                  rest-for-one, 5 restarts in 1m
   ├─ api               transient, stop 5s, beat 1s x 3 + 10s, ready by heartbeat  ./api --port 8080 'two words'
   └─ jobs-1 .. jobs-4  restart each other, permanent, stop 5s                     ./jobs
"
    );
}

#[test]
fn copies_are_drawn_from_the_first_to_the_last_and_limits_as_they_are_written() {
    let text = "[[child]]\nname = \"a\"\ncount = 3\ncommand = \"a --metrics ${@n+9000}\"\n\
                listen = [\"tcp://127.0.0.1:${@n+8079}\", \"unix:/run/${@n}.sock\", \"tcp://127.0.0.1:80\"]\n\
                memory-max = { value = \"1G\", best-effort = true }\nmemory-high = \"50%\"\ncpu-max = 1.5\n\
                pids-max = \"max\"\nio-weight = 50\n";
    let tree = spec::read_text("t.toml", text, &|_| None).tree.unwrap();
    let drawn = draw(&tree, Look::PLAIN);
    let row = drawn.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        row,
        "`- a-1 .. a-3 permanent, stop 5s, memory-max 1G (best-effort), memory-high 50%, cpu-max 150%, pids-max max, \
         io-weight 50, listens at tcp://127.0.0.1:8080 .. tcp://127.0.0.1:8082, \
         listens at unix:/run/1.sock .. unix:/run/3.sock, listens at tcp://127.0.0.1:80 \
         a --metrics 9001 .. a --metrics 9003"
    );
}

#[test]
fn the_json_keeps_its_keys() {
    let value = tree_json(&shop());
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&value), "containment journal name root");
    let root = &value["root"];
    assert_eq!(
        keys(root),
        "auto_shutdown children intensity kind name on_escalate on_panic on_restart path start_order stop_order strategy"
    );
    let web = &root["children"][1];
    assert_eq!(
        keys(web),
        "auto_shutdown autostart children heartbeat intensity kind name on_escalate on_panic on_restart path restart \
         shutdown significant start_order start_timeout_ms stop_order strategy"
    );
    let api = &web["children"][0];
    assert_eq!(
        keys(api),
        "autostart backoff command cwd heartbeat kind name path ready restart shutdown significant start_timeout_ms \
         success_codes user"
    );
    assert_eq!(api["path"], "/web/api");
    assert_eq!(api["shutdown"], json!({ "after_ms": 5000 }));
    assert_eq!(keys(&api["heartbeat"]), "grace_ms interval_ms misses progress");
    assert_eq!(web["children"].as_array().unwrap().len(), 5);
}
