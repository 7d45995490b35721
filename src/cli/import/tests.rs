//! Whatever a file contains, the converted tree is valid.

use super::source::Text;
use super::systemd::Source;
use super::*;
use proptest::prelude::*;

/// Checks that the result is valid, or has nothing to start.
fn is_right(mut tree: Draft) -> Result<(), TestCaseError> {
    tree.make_names_unique();
    tree.keep_logs_apart();
    if tree.starts_something() {
        let text = tree.to_toml();
        let read = read_text("import", &text, &|_| Some(String::new()));
        let errors: Vec<_> = read.errors().map(ToString::to_string).collect();
        prop_assert!(errors.is_empty(), "{errors:#?}\n{text}");
    }
    Ok(())
}

fn lines(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let line = proptest::collection::vec(
        prop_oneof![4 => proptest::sample::select(words).prop_map(str::to_owned), 1 => "\\PC{0,8}"],
        0..5,
    );
    proptest::collection::vec(line.prop_map(|words| words.concat()), 0..30).prop_map(|lines| lines.join("\n"))
}

const INI: &[&str] = &[
    "[program:a]",
    "[program:b c]",
    "[group:g]",
    "[supervisord]",
    "[include]",
    "programs=a,b c",
    "command=",
    "./x ",
    "\"",
    "'",
    "%(program_name)s",
    "%(process_num)02d",
    "%(ENV_HOME)s",
    "%",
    "numprocs=",
    "3",
    "process_name=",
    "stdout_logfile=",
    "/x.log",
    "AUTO",
    "NONE",
    "stdout_logfile_maxbytes=",
    "10MB",
    "0",
    "exitcodes=",
    "1,2",
    "environment=",
    "A=\"b\",",
    "umask=",
    "022",
    "stopsignal=",
    "KILL",
    "INT",
    "user=",
    "autorestart=",
    "true",
    "false",
    "autostart=false",
    "priority=",
    "-1",
    "stopwaitsecs=",
    " ",
    ";",
    "#",
    "=",
    "$",
    "${X}",
    "directory=",
];

const UNIT: &[&str] = &[
    "[Unit]",
    "[Service]",
    "[Install]",
    "ExecStart=",
    "/bin/x ",
    "$A ",
    "${A}",
    "$$",
    "%i",
    "%n",
    "%%",
    "-",
    "@",
    "\"",
    "'",
    "\\",
    "Environment=",
    "A=b ",
    "Restart=",
    "always",
    "on-failure",
    "RestartSec=",
    "1min 2s",
    "0",
    "infinity",
    "TimeoutStopSec=",
    "Type=",
    "notify",
    "oneshot",
    "WatchdogSec=",
    "5",
    "LimitNOFILE=",
    "1:2",
    "2:1",
    "1G",
    "UMask=",
    "0022",
    "9",
    "KillSignal=",
    "SIGKILL",
    "SIGINT",
    "User=",
    "WorkingDirectory=",
    "~",
    "/x",
    "SuccessExitStatus=",
    "1 2 TERM",
    "Nice=",
    "-5",
    "StandardOutput=",
    "file:/x",
    "null",
    "StartLimitBurst=",
    "StartLimitIntervalSec=",
    "After=b.service",
    "Before=a.service",
    "#",
    "=",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_supervisords_file_holds(text in lines(INI)) {
        let text = Text { name: "x.conf".into(), text: format!("[program:first]\ncommand=./first\n{text}") };
        let machine = Machine { env: &|name| (name == "HOME").then(|| "/home/x".into()), host: "box".into() };
        is_right(supervisord::read(&text, Path::new("/etc"), &machine, &|_| Err("no files here".into())))?;
    }

    #[test]
    fn whatever_units_hold(a in lines(UNIT), b in lines(UNIT)) {
        let machine = Machine { env: &|_| None, host: "box".into() };
        let unit = |name: &str, text: &str| Source {
            name: name.into(),
            fragment: format!("/etc/systemd/system/{name}"),
            texts: vec![
                Text { name: name.into(), text: format!("[Service]\nExecStart=/bin/first\n{text}") },
                Text { name: "drop-in.conf".into(), text: text.into() },
            ],
            of_user: text.len() % 2 == 1,
        };
        is_right(systemd::read(&[unit("a.service", &a)], &machine))?;
        is_right(systemd::read(&[unit("a@x.service", &a), unit("b.service", &b)], &machine))?;
    }

    #[test]
    fn whatever_a_procfile_holds(text in "(web: |job: |PORT|release: |[a-z]{1,3}: \
         |\\PC|\n|\\$|\\{|\"){0,40}", count in 0u32..4) {
        let port = Some((u32::from(u16::MAX), "`.env`"));
        is_right(procfile::read(&"Procfile".into(), &text, &[("web".into(), count), ("all".into(), 2)], port))?;
    }
}

/// What is made of units, each with its name and text.
fn of_units(units: &[(&str, &str)]) -> String {
    let machine = Machine { env: &|_| None, host: "box".into() };
    let source = |(name, text): &(&str, &str)| Source {
        name: (*name).into(),
        fragment: format!("/etc/systemd/system/{name}"),
        texts: vec![Text { name: (*name).into(), text: (*text).into() }],
        of_user: false,
    };
    systemd::read(&units.iter().map(source).collect::<Vec<_>>(), &machine).to_toml()
}

/// What is made of a supervisord.conf.
fn of_supervisord(text: &str) -> String {
    let machine = Machine { env: &|_| None, host: "box".into() };
    let text = Text { name: "x.conf".into(), text: text.into() };
    supervisord::read(&text, Path::new("/etc"), &machine, &|_| Err("no files here".into())).to_toml()
}

/// Restarts without a limit are not counted by the root, whose limit would end all others.
#[test]
fn a_unit_that_never_gives_up_has_a_supervisor_of_its_own() {
    let other = ("b.service", "[Service]\nExecStart=/bin/b\nRestart=always\n");
    for off in ["StartLimitIntervalSec=0", "StartLimitBurst=0"] {
        let text = format!("[Unit]\n{off}\n[Service]\nExecStart=/bin/a\nRestart=always\n");
        let made = of_units(&[("a.service", &text), other]);
        let own = "[[child]]\nname = \"a\"\nrestart = \"temporary\"\nintensity = \"unlimited\"\n";
        assert!(made.contains(own), "{made}");
        assert!(made.contains("  [[child.child]]\n  name = \"main\"\n  command = [\"/bin/a\"]"), "{made}");
        assert_eq!(made.matches("stays down").count(), 1, "it is the other one that does\n{made}");
    }
}

#[test]
fn variables_of_a_file_reach_commands_and_steps() {
    let unit = "[Service]\nEnvironmentFile=/etc/x.env\nEnvironment=A=1\nExecStartPre=/bin/pre\n\
                ExecStart=/bin/x --a=${A} --port=${PORT}\n";
    let made = of_units(&[("x.service", unit)]);
    assert_eq!(made.matches("env-file = \"/etc/x.env\"").count(), 2, "{made}");
    assert!(made.contains(r#"command = ["/bin/sh", "-fc", "exec /bin/x --a=1 '--port='\"$${PORT:-}\""]"#), "{made}");
    let own = "[Service]\nEnvironmentFile=/etc/x.env\nEnvironment=A=1\nExecStart=/bin/x ${A}\n";
    assert!(of_units(&[("x.service", own)]).contains("command = [\"/bin/x\", \"1\"]"));
    let without = "[Service]\nExecStart=/bin/x ${A}\n";
    assert!(of_units(&[("x.service", without)]).contains("command = [\"/bin/x\", \"${A:-}\"]"));
}

#[test]
fn a_program_is_in_each_of_its_groups() {
    let made = of_supervisord(
        "[program:a]\ncommand=./a %(group_name)s\nstartsecs=5\n[group:g]\nprograms=a\n[group:h]\nprograms=a,ghost\n",
    );
    assert!(made.contains("[\"./a\", \"g\"]") && made.contains("[\"./a\", \"h\"]"), "{made}");
    assert!(made.contains("# differs: x.conf:7: programs=a,ghost: ghost is no program"), "{made}");
    assert_eq!(made.matches("startsecs=5").count(), 1, "a note is kept once\n{made}");
}

#[test]
fn the_user_of_supervisord_is_that_of_programs_without_one() {
    let made = of_supervisord("[supervisord]\nuser=www\n[program:a]\ncommand=./a\n[program:b]\ncommand=./b\nuser=db\n");
    assert_eq!((made.matches("user = \"www\"").count(), made.matches("user = \"db\"").count()), (1, 1), "{made}");
    let root = of_supervisord("[supervisord]\nuser=root\n[program:a]\ncommand=./a\n");
    assert!(!root.contains("user = "), "{root}");
    let unknown = of_supervisord("[supervisord]\nuser=%(ENV_WHO)s\n[program:a]\ncommand=./a\n");
    assert!(unknown.contains("# [[child]]\n# name = \"a\""), "it is not started as another user\n{unknown}");
}

#[test]
fn names_tell_what_a_file_is() {
    for (name, format) in [
        ("/etc/supervisor/supervisord.conf", Some(Format::Supervisord)),
        ("supervisord.ini", Some(Format::Supervisord)),
        ("Procfile", Some(Format::Procfile)),
        ("Procfile.dev", Some(Format::Procfile)),
        ("web@.service", Some(Format::Systemd)),
        ("web.txt", None),
    ] {
        assert_eq!(format_of(Path::new(name)), format, "{name}");
    }
}
