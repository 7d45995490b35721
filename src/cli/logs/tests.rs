use super::*;
use clap::Parser;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn line(of: &str, at: &str, text: &str) -> LogView {
    LogView { at: (!at.is_empty()).then(|| at.into()), ..LogView::untimed(path(of), text.into()) }
}

fn texts(lines: &[LogView]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn pieces_are_one_line_in_a_file() {
    let piece = |text: &str, cut, continued| LogView { cut, continued, ..line("/a", "1", text) };
    let lines = [piece("x", true, false), piece("y", true, true), piece("z", false, true), piece("n", false, false)];
    assert_eq!(joined(&lines).lines, ["xyz", "n"]);
    // Where another line comes in between, the begun line has ended in the file.
    let of = |incarnation, piece| LogView { incarnation: Some(incarnation), ..piece };
    let (begun, end) = (|text| of(1, piece(text, true, false)), |text| of(1, piece(text, false, true)));
    let other = |text| of(2, piece(text, false, false));
    for (lines, texts) in [
        (vec![begun("ready> "), other("boot"), end("yes")], vec!["ready> ", "boot", "yes"]),
        (vec![begun("ready> "), other("boot"), end(""), other("up")], vec!["ready> ", "boot", "up"]),
        (vec![begun("ready> "), of(2, begun("boot")), end("yes")], vec!["ready> ", "boot", "yes"]),
        (vec![begun("wait"), of(1, other("trace")), end("")], vec!["wait", "trace"]),
    ] {
        assert_eq!(joined(&lines).lines, texts);
    }
}

#[test]
fn a_line_whose_beginning_is_in_the_file_alone_is_shown_from_there() {
    let piece = |text: &str, cut, continued| LogView { cut, continued, ..line("/a", "1", text) };
    let mut lines = vec![piece("on", true, true), piece("g", false, true), piece("n", false, false)];
    let (file, kept) = (["a", "long", "n"].map(String::from).to_vec(), joined(&lines));
    assert!(kept.headless && !kept.unfinished);
    put_before(&mut lines, file, &kept, &path("/a"));
    assert_eq!(texts(&lines), ["a", "long", "n"]);
    // So is one whose end stands before the end of another process's line.
    let of = |incarnation, piece| LogView { incarnation: Some(incarnation), ..piece };
    let mut lines = vec![of(1, piece("g", false, true)), of(2, piece("yes", false, true))];
    let kept = joined(&lines);
    assert_eq!(kept.lines, ["g", "yes"]);
    put_before(&mut lines, ["a", "long", "yes"].map(String::from).to_vec(), &kept, &path("/a"));
    assert_eq!(texts(&lines), ["a", "long", "yes"]);
    // Of another line in the file nothing is left out.
    let mut lines = vec![piece("g", false, true), piece("prompt>", true, false)];
    let kept = joined(&lines);
    assert!(kept.headless && kept.unfinished);
    put_before(&mut lines, vec!["a".into()], &kept, &path("/a"));
    assert_eq!(texts(&lines), ["a", "g", "prompt>"]);
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    logs: Logs,
}

#[test]
fn a_follower_gets_all_that_comes_while_memory_is_read() {
    let shows = |options: &[&str]| {
        let args = Command::parse_from([&["logs"][..], options].concat()).logs;
        let mut shown = Shown::new(&args, ColorMode::Never);
        shown.asked = args.follow.then(|| "05".into());
        let memory = ["01", "02", "03", "05", "06"].map(|at| line("/a", at, at)).to_vec();
        let lines = with_files(memory, &[], &shown).unwrap();
        texts(&lines).join(" ")
    };
    assert_eq!(shows(&["-f", "-n", "0"]), "05 06");
    assert_eq!(shows(&["-f", "-n", "2"]), "02 03 05 06");
    assert_eq!(shows(&["-f"]), "01 02 03 05 06");
    assert_eq!(shows(&["-n", "2"]), "05 06");
}
