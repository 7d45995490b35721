//! How large a tree, its files and what is reported of them may be.

use super::*;

#[test]
fn includes_are_bounded() {
    // A file that includes another one ten times, which does the same, and so on: 10^12 files.
    let files = |path: &Path| {
        let level: usize = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let text: String =
            (0..10).map(|n| format!("[[child]]\nname = \"c{n}\"\ninclude = \"{}.toml\"\n", level + 1)).collect();
        Ok((path.to_owned(), text.into_bytes()))
    };
    let read = read_with(Path::new("0.toml"), &no_env, Disk { files: &files, ..Disk::REGULAR });
    assert!(read.tree.is_none());
    assert!(read.diagnostics.iter().any(|found| found.code == "too-many" || found.code == "too-deep"));
}

#[test]
fn a_path_is_as_long_as_its_cgroup_can_be() {
    let deep = |levels: usize, name: &str| {
        let supervisors: String =
            (1..levels).map(|level| format!("[[{}child]]\nname = \"{name}\"\n", "child.".repeat(level - 1))).collect();
        format!("{supervisors}[[{}child]]\nname = \"{name}\"\ncommand = \"x\"\n", "child.".repeat(levels - 1))
    };
    let long = "n".repeat(64);
    assert!(parse(&deep(PATH_BYTES_MAX / 65, &long)).tree.is_some());
    let read = parse(&deep(PATH_BYTES_MAX / 65 + 1, &long));
    let found: Vec<_> = read.errors().map(|found| (found.code, found.line, found.column)).collect();
    assert_eq!(found, [("too-long", 2 * (PATH_BYTES_MAX as u32 / 65 + 1), 8)]);
    assert!(parse(&deep(DEPTH_MAX, &"n".repeat(45))).tree.is_some());
}

#[test]
fn an_endpoint_for_beats_is_one_that_can_be_bound() {
    let with = |path: &str| {
        parse(&format!(
            "[[child]]\nname = \"a\"\ncommand = \"x\"\nheartbeat = {{ source = {{ push = \"ipc://{path}\" }} }}\n"
        ))
    };
    assert!(with(&"p".repeat(99)).tree.is_some());
    for path in [&*"p".repeat(100), "", "*", "*a", "@a"] {
        let read = with(path);
        assert_eq!(
            read.errors().map(|found| (found.code, found.line)).collect::<Vec<_>>(),
            [("bad-value", 4)],
            "{path}"
        );
    }
}

#[test]
fn depth_is_bounded() {
    let deep = |levels: usize| {
        let mut text = String::new();
        for level in 1..=levels {
            text += &format!("[[{}child]]\nname = \"c\"\n", "child.".repeat(level - 1));
        }
        text + "command = \"x\"\n"
    };
    let read = parse(&deep(DEPTH_MAX));
    assert!(read.tree.is_some(), "{:?}", read.diagnostics);
    assert_eq!(parse(&print::to_toml(read.tree.as_ref().unwrap())).tree, read.tree);
    assert!(parse(&deep(DEPTH_MAX + 1)).diagnostics.iter().any(|found| found.code == "too-deep"));
    for text in [
        format!("[{}a]\n", "a.".repeat(100_000)),
        format!("{}a = 1\n", "a.".repeat(100_000)),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("child = {}", "[{child=".repeat(100_000)),
    ] {
        assert!(parse(&text).tree.is_none());
    }
}

/// Files within files add up; what walks the tree would overflow the stack.
#[test]
fn depth_is_bounded_across_files() {
    let files = |levels: usize| {
        move |path: &Path| {
            let file: usize = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let mut text: String =
                (1..=levels).map(|level| format!("[[{}child]]\nname = \"c\"\n", "child.".repeat(level - 1))).collect();
            text += &if file < 3 { format!("include = \"{}.toml\"\n", file + 1) } else { "command = \"x\"\n".into() };
            Ok((path.to_owned(), text.into_bytes()))
        }
    };
    let read = |levels| read_with(Path::new("0.toml"), &no_env, Disk { files: &files(levels), ..Disk::REGULAR });
    let fits = read(DEPTH_MAX / 4);
    assert!(fits.tree.is_some(), "{:?}", fits.diagnostics);
    assert!(read(DEPTH_MAX / 4 + 1).errors().any(|found| found.code == "too-deep"));
    assert!(read(DEPTH_MAX).errors().any(|found| found.code == "too-deep"));
}

#[test]
fn a_file_in_another_language_has_a_hundred_errors_and_the_number_of_the_rest() {
    let read = parse(&"= 1\n".repeat(20_000));
    assert_eq!(read.diagnostics.len(), 101);
    // Two in each line.
    let last = &read.diagnostics[100];
    assert_eq!((last.code, last.line), ("syntax", 51));
    assert!(last.message.ends_with(" more errors from here on"), "{}", last.message);
    // All in one line, of which the part around the caret is shown.
    let read = parse(&format!("x = [{}\n", "! \"a\", ".repeat(20_000)));
    assert!((1..=101).contains(&read.diagnostics.len()), "{}", read.diagnostics.len());
    for found in &read.diagnostics {
        let shown = render(found, false, 100);
        assert!(shown.len() < 10_000, "{}", shown.len());
        assert!(shown.contains(&format!("[shop.toml:1:{}]", found.column)), "{found} {shown}");
    }
    let text = format!("a = \"{}\"\n{}", "é".repeat(20_000), worker(&format!("cwd = [\"{}\"]", "é".repeat(20_000))));
    let [unknown, wrong] = &parse(&text).diagnostics[..] else { panic!("two") };
    for found in [unknown, wrong] {
        let shown = render(found, false, 100);
        assert!(shown.len() < 10_000 && shown.contains(&format!("[shop.toml:{}:", found.line)), "{shown}");
    }
}

#[test]
fn ten_thousand_errors_are_shown_one_by_one() {
    let read = parse(&"[[child]]\nname = \"a b\"\ncommand = \"a\"\n".repeat(10_000));
    assert_eq!(read.diagnostics.len(), 10_000);
    let last = render(&read.diagnostics[9_999], false, 80);
    assert!(last.contains("[shop.toml:29999:8]") && last.contains("29999 | name = \"a b\""), "{last}");
    let all: usize = read.diagnostics.iter().map(|found| render(found, false, 80).len()).sum();
    assert!(all > 1_000_000);
}

#[test]
fn trees_are_bounded() {
    let text: String =
        (0..11).map(|n| format!("[[child]]\nname = \"c{n}\"\ncommand = \"x\"\ncount = 10000\n")).collect();
    assert_eq!(codes(&text), ["too-many"]);
}
