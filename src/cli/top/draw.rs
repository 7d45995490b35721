//! Drawing: state in, cells out.
//!
//! The layout is made for 80 by 24 cells and larger. Smaller screens lose the panes first, then the activity.

use super::keys::{self, Kind, Subject};
use super::page::Page;
use super::rows::{Row, workers};
use super::state::{Link, Mode, Pane, State, verb};
use crate::cli::render::cpu::{total, total_share};
use crate::cli::render::status::{COLUMNS, row, summary};
use crate::cli::render::table::{Cell, Table, fields, shorten};
use crate::cli::render::why::{self, wrap};
use crate::cli::render::{Look, event, people, style};
use crate::explain::sentence::words;
use crate::explain::{Present, explain, tell};
use crate::ids::Path;
use crate::text::{clean, cut_inside};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Sparkline};
use std::borrow::Cow;

/// From this width on the two panes are side by side.
const WIDE: u16 = 120;

/// The least heights for panes, and for the activity.
const HEIGHT_WITH_PANES: u16 = 16;
const HEIGHT_WITH_ACTIVITY: u16 = 8;

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, look: Look) {
    let area = frame.area();
    let look = Look { width: Some(usize::from(area.width)), ..look };
    let panes = if area.height >= HEIGHT_WITH_PANES {
        // A quarter of the height, and the rows that a short tree leaves free.
        let rows = u16::try_from(state.rows().len()).unwrap_or(u16::MAX);
        (area.height / 4).max(area.height.saturating_sub(rows.saturating_add(6)))
    } else {
        0
    };
    let activity = u16::from(area.height >= HEIGHT_WITH_ACTIVITY);
    let [head, tree, activity, panes, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(activity),
        Constraint::Length(panes),
        Constraint::Length(1),
    ])
    .areas(area);
    if let Mode::Page(page) = &state.mode {
        let (page, below) = (page.clone(), Rect { height: tree.height + activity.height + panes.height, ..tree });
        draw_head(frame, head, state, look);
        draw_page(frame, below, state, page, look);
        draw_foot(frame, foot, state, look);
        return;
    }
    draw_tree(frame, tree, state, look);
    draw_head(frame, head, state, look);
    if activity.height > 0 {
        draw_activity(frame, activity, state, look);
    }
    if panes.height > 0 {
        draw_panes(frame, panes, state, look);
    }
    draw_foot(frame, foot, state, look);
    if state.mode == Mode::Help {
        draw_help(frame, area, look);
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, state: &State, look: Look) {
    let mut lines = summary(&state.status, &state.shares);
    let trouble = match &state.link {
        Link::Live => None,
        Link::Silent(words) => Some(format!("; {words}; what stands below is older")),
        Link::Ended => Some("; the instance has ended; what stands below was its last state".into()),
    };
    if let Some(trouble) = trouble {
        // Replaces values that are known only while the tree runs.
        lines[0].truncate(1);
        lines[0].push(Cell::new(trouble, style::BAD));
    }
    let (above, below) = state.hidden;
    if let (Some(last), true) = (lines.last_mut(), above + below > 0) {
        let hidden: Vec<String> = [(above, "above"), (below, "below")]
            .into_iter()
            .filter(|(rows, _)| *rows > 0)
            .map(|(rows, where_to)| format!("{rows} {where_to}"))
            .collect();
        last.insert(0, Cell::new(format!("rows: {}; ", hidden.join(", ")), style::NAME));
    }
    let lines: Vec<Line<'_>> = lines.into_iter().map(|parts| line(parts, look)).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_tree(frame: &mut Frame<'_>, area: Rect, state: &mut State, look: Look) {
    let page = usize::from(area.height.saturating_sub(1));
    let rows = state.rows();
    let at = rows.iter().position(|row| *row.view.path() == state.selected).unwrap_or(0);
    // Scrolls no further than needed to show the selected row.
    let least = (at + 1).saturating_sub(page);
    let most = at.min(rows.len().saturating_sub(page));
    let first = state.first_row.clamp(least.min(most), most.max(least));
    let shown: Vec<&Row<'_>> = rows.iter().skip(first).take(page).collect();
    let mut cells: Vec<Vec<Cell>> = shown.iter().map(|row| row_cells(row, state, look)).collect();
    if state.link == Link::Ended {
        cells.iter_mut().flatten().for_each(|cell| cell.style = style::QUIET);
    }
    let mut columns = COLUMNS.to_vec();
    if let Some((sorted, mark)) = state.order.mark(look.unicode)
        && let Some(column) = columns.iter_mut().find(|column| column.head == sorted)
    {
        // The column that the tree is sorted by is never left out.
        (column.head, column.rank) = (mark, 0);
    }
    let table = Table { columns, rows: cells };
    let widths = table.widths(look.width);
    let heads = fields(&table.columns, &table.heads(), &widths, look);
    let mut lines = vec![line(heads, look)];
    for (cells, row) in table.rows.iter().zip(&shown) {
        let mut drawn = line(fields(&table.columns, cells, &widths, look), look);
        if *row.view.path() == state.selected {
            let used = drawn.width();
            drawn.push_span(Span::raw(" ".repeat(usize::from(area.width).saturating_sub(used))));
            drawn = drawn.patch_style(Style::new().add_modifier(Modifier::REVERSED));
        } else if !state.search.is_empty() && is_match(row, &state.search) {
            drawn = drawn.patch_style(Style::new().add_modifier(Modifier::UNDERLINED));
        }
        lines.push(drawn);
    }
    let hidden = (first, rows.len().saturating_sub(first + page));
    (state.first_row, state.page, state.hidden) = (first, page, hidden);
    frame.render_widget(Paragraph::new(lines), area);
}

fn is_match(row: &Row<'_>, search: &str) -> bool {
    row.view.path().as_str().to_lowercase().contains(&search.to_lowercase())
}

/// The cells of a row. A folded supervisor shows the sums of its subtree.
fn row_cells(of: &Row<'_>, state: &State, look: Look) -> Vec<Cell> {
    let topmost = of.view.path() == state.status.root.path();
    let before = of.branches.draw(look);
    if !of.folded {
        let memory = of.view.usage().map(|usage| usage.memory_bytes);
        return row(of.view, before, topmost, look.zone, state.shares.of(of.view), memory);
    }
    let mark = if look.unicode { "▸" } else { "+" };
    let memory = Some(total(of.view).memory_bytes).filter(|bytes| *bytes > 0);
    let mut cells = row(of.view, before + mark + " ", topmost, look.zone, total_share(of.view, &state.shares), memory);
    cells[0].text.push_str(&format!(" ({})", workers(of.view)));
    cells
}

fn draw_activity(frame: &mut Frame<'_>, area: Rect, state: &State, look: Look) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    let whose = clean(state.selected.as_str()).into_owned();
    let beats = state.activity.beats(&state.selected);
    let restarts = state.activity.restarts(&state.selected);
    let latest = beats.last().copied().unwrap_or(0);
    let sum: u64 = restarts.iter().sum();
    draw_spark(frame, left, &format!("beats of {whose}"), &beats, &format!("{latest}"), style::GOOD, look);
    draw_spark(frame, right, "restarts", &restarts, &format!("{sum}"), style::BAD, look);
}

fn draw_spark(
    frame: &mut Frame<'_>,
    area: Rect,
    label: &str,
    values: &[u64],
    number: &str,
    with: anstyle::Style,
    look: Look,
) {
    let width = usize::from(area.width);
    let label = shorten(label, width / 2, look);
    let [text, bars, total] = Layout::horizontal([
        Constraint::Length(u16::try_from(Span::raw(label.as_str()).width() + 1).unwrap_or(u16::MAX)),
        Constraint::Min(1),
        Constraint::Length(7),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(Span::styled(label, styled(style::QUIET, look))), text);
    frame.render_widget(Paragraph::new(format!(" {number:<6}")), total);
    let first = values.len().saturating_sub(usize::from(bars.width));
    let values = &values[first..];
    // The latest value is at the right, next to its number.
    let empty = bars.width.saturating_sub(u16::try_from(values.len()).unwrap_or(u16::MAX));
    let bars = Rect { x: bars.x + empty, width: bars.width - empty, ..bars };
    let set = if look.unicode { symbols::bar::NINE_LEVELS } else { ASCII_BARS };
    frame.render_widget(Sparkline::default().data(values).bar_set(set).style(styled(with, look)), bars);
}

/// Bars for a terminal without Unicode.
const ASCII_BARS: symbols::bar::Set<'static> = symbols::bar::Set {
    full: "#",
    seven_eighths: "#",
    three_quarters: "=",
    five_eighths: "=",
    half: "-",
    three_eighths: "-",
    one_quarter: ".",
    one_eighth: ".",
    empty: " ",
};

fn draw_panes(frame: &mut Frame<'_>, area: Rect, state: &State, look: Look) {
    if area.width >= WIDE {
        let [left, right] = Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(area);
        draw_events(frame, left, state, look, "");
        draw_output(frame, right, state, look, "");
    } else if state.pane == Pane::Events {
        draw_events(frame, area, state, look, " (tab: output)");
    } else {
        draw_output(frame, area, state, look, " (tab: events)");
    }
}

fn pane(frame: &mut Frame<'_>, area: Rect, title: &str, look: Look) -> Rect {
    let mut block = Block::new().borders(Borders::TOP).border_style(styled(style::QUIET, look));
    if !look.unicode {
        block = block.border_set(symbols::border::Set { horizontal_top: "-", ..symbols::border::PLAIN });
    }
    let title = shorten(title, usize::from(area.width.saturating_sub(2)), look);
    let block = block.title(Span::styled(format!(" {title} "), styled(style::NAME, look)));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, state: &State, look: Look, other: &str) {
    let of = if state.events_of_selected { format!("events of {}", state.selected) } else { "events".into() };
    let lost = if state.lost > 0 { format!(", {} lost", state.lost) } else { String::new() };
    let inner = pane(frame, area, &format!("{of}{lost}{other}"), look);
    let look = Look { width: Some(usize::from(inner.width)), ..look };
    let room = usize::from(inner.width) / 3;
    let wanted =
        |event: &&crate::wire::view::EventView| !state.events_of_selected || event.path.is_within(&state.selected);
    let latest: Vec<_> = state.events.iter().rev().filter(wanted).take(usize::from(inner.height)).collect();
    let lines: Vec<Line<'_>> = latest
        .into_iter()
        .rev()
        .map(|view| {
            let view = &people::event(view, look);
            let at = event::short_time(&view.at);
            // Only the time is shown, as the events are recent.
            let time = at.get(11..19).unwrap_or(&at).to_owned();
            let parts = vec![
                Cell::new(time, style::QUIET),
                // A long path is cut at its beginning, to leave room for the text.
                Cell::new(format!(" {} ", clean(&shown_path(&view.path, room, look))), style::PLAIN),
                Cell::new(words(view), style::of_event(&view.body)),
            ];
            line(parts, look)
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}

/// The last output of the selected worker, or of the worker below the selected supervisor that printed last.
fn draw_output(frame: &mut Frame<'_>, area: Rect, state: &State, look: Look, other: &str) {
    let output = state.last_output();
    let whose = output.map_or(&state.selected, |output| &output.path);
    let inner = pane(frame, area, &format!("last output of {whose}{other}"), look);
    let look = Look { width: Some(usize::from(inner.width)), ..look };
    let lines: Vec<Line<'_>> = match output {
        Some(output) => {
            let first = output.lines.len().saturating_sub(usize::from(inner.height));
            let lines = output.lines[first..].iter();
            lines.map(|text| line(vec![Cell::new(clean(text), style::PLAIN)], look)).collect()
        }
        None => vec![line(vec![Cell::new("none yet", style::QUIET)], look)],
    };
    frame.render_widget(Paragraph::new(lines), inner);
}

/// The bottom line: a question, a request under way, the last message, or the selected path.
fn draw_foot(frame: &mut Frame<'_>, area: Rect, state: &State, look: Look) {
    let parts = match &state.mode {
        Mode::Confirm(kind, path) => {
            let what = match kind {
                Kind::Stop if path.is_root() => "stop the whole instance".into(),
                Kind::Panic | Kind::Hold if path.is_root() => "kill everything and end the instance".into(),
                Kind::Stop => format!("stop {path} in order and leave it down"),
                Kind::Restart => format!("restart {path}"),
                Kind::Panic => format!("kill all of {path} now"),
                Kind::Hold => format!("kill all of {path} now and leave it down"),
            };
            vec![Cell::new(format!("{what}? y: yes, any other key: no"), style::BAD)]
        }
        Mode::Search => vec![Cell::new(format!("/{}", clean(&state.search)), style::NAME)],
        Mode::Page(_) => keys_of(keys::BAR_OF_PAGE, look.width.unwrap_or(usize::MAX)),
        Mode::Normal | Mode::Help => {
            if let Some(request) = state.requests.last() {
                let since = state.now.since(request.began).coarse();
                let others = state.requests.len() - 1;
                let more = if others > 0 { format!(" (and {others} more)") } else { String::new() };
                vec![Cell::new(format!("{} … {since}{more}", request.words), style::BUSY)]
            } else if let Some((message, _)) = &state.message {
                match message {
                    Ok(text) => vec![Cell::new(clean(text), style::GOOD)],
                    Err(text) => vec![Cell::new(clean(text), style::BAD)],
                }
            } else {
                // Shows the path of the selected child, as the table may have cut its name.
                let width = look.width.unwrap_or(usize::MAX);
                let path = shown_path(&state.selected, width / 3, look).into_owned();
                let room = width.saturating_sub(path.chars().count() + 2);
                let mut parts = vec![Cell::new(clean(&path), style::NAME), Cell::new("  ", style::PLAIN)];
                parts.extend(keys_of(keys::BAR, room));
                parts
            }
        }
    };
    frame.render_widget(Paragraph::new(line(parts, look)), area);
}

fn shown_path(path: &Path, columns: usize, look: Look) -> Cow<'_, str> {
    cut_inside(path.as_str(), columns, if look.unicode { '…' } else { '~' })
}

/// As many keys as there is room for, each with its meaning.
fn keys_of(bar: &[(&str, &str)], room: usize) -> Vec<Cell> {
    let (mut parts, mut left) = (Vec::new(), room);
    for (key, words) in bar {
        let Some(rest) = left.checked_sub(key.len() + 1 + words.len()) else { break };
        // Each is followed by two blanks.
        left = rest.saturating_sub(2);
        parts.push(Cell::new(*key, style::NAME));
        parts.push(Cell::new(format!(" {words}  "), style::QUIET));
    }
    parts
}

/// Draws a page over the whole screen.
fn draw_page(frame: &mut Frame<'_>, area: Rect, state: &mut State, mut page: Page, look: Look) {
    let whose = match page.subject {
        Subject::Logs => state.last_output().map_or(&state.selected, |output| &output.path).clone(),
        Subject::Why => state.selected.clone(),
    };
    let title = match page.subject {
        Subject::Logs => format!("last output of {whose}"),
        Subject::Why => format!("why {whose}"),
    };
    let inner = pane(frame, area, &title, look);
    let look = Look { width: Some(usize::from(inner.width)), ..look };
    let parts = match page.subject {
        Subject::Logs => output_lines(state, look),
        Subject::Why => why_lines(state, look),
    };
    let first = page.first(parts.len(), usize::from(inner.height));
    let lines: Vec<Line<'_>> = parts.into_iter().skip(first).map(|parts| line(parts, look)).collect();
    frame.render_widget(Paragraph::new(lines), inner);
    state.mode = Mode::Page(page);
}

fn output_lines(state: &State, look: Look) -> Vec<Vec<Cell>> {
    let Some(output) = state.last_output() else { return vec![vec![Cell::new("none yet", style::QUIET)]] };
    let lines = output.lines.iter().map(|text| clean(text));
    let wrapped = lines.flat_map(|text| wrap(&text, look.width).into_iter().map(str::to_owned).collect::<Vec<_>>());
    wrapped.map(|text| vec![Cell::new(text, style::PLAIN)]).collect()
}

fn why_lines(state: &State, look: Look) -> Vec<Vec<Cell>> {
    let events: Vec<_> = state.events.iter().cloned().collect();
    let present = match state.link {
        Link::Ended => Present::Over(None),
        Link::Live | Link::Silent(_) => Present::Runs(state.selected_view().cloned()),
    };
    let mut explanation = explain(&events, &state.selected, &present);
    explanation.look_below(&events, None);
    why::lines(&tell(&people::explanation(&explanation, look)), look)
}

fn draw_help(frame: &mut Frame<'_>, area: Rect, look: Look) {
    let mut lines: Vec<Line<'_>> = keys::help()
        .map(|(keys, words)| {
            Line::from(vec![Span::styled(format!("{keys:>14}  "), styled(style::NAME, look)), Span::raw(words)])
        })
        .collect();
    lines.push(Line::default());
    let verbs = [Kind::Stop, Kind::Restart, Kind::Panic, Kind::Hold].map(verb).join(", ");
    lines.push(Line::raw(format!("  {verbs}: as on the command line")));
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let width = 68.min(area.width);
    let area = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    let mut block = Block::bordered().title(" keys ");
    if !look.unicode {
        block = block.border_set(symbols::border::Set {
            top_left: "+",
            top_right: "+",
            bottom_left: "+",
            bottom_right: "+",
            vertical_left: "|",
            vertical_right: "|",
            horizontal_top: "-",
            horizontal_bottom: "-",
        });
    }
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Parts as a line of the screen, cut to its width.
fn line<'a>(parts: Vec<Cell>, look: Look) -> Line<'a> {
    let mut left = look.width.unwrap_or(usize::MAX);
    let mut spans = Vec::with_capacity(parts.len());
    for part in parts {
        let text = shorten(&part.text, left, look);
        let cut = text.len() != part.text.len();
        let span = Span::styled(text, styled(part.style, look));
        left = left.saturating_sub(span.width());
        spans.push(span);
        if cut {
            break;
        }
    }
    Line::from(spans)
}

/// Converts a style of the command line for the screen. Bold and dim are kept without colours.
fn styled(style: anstyle::Style, look: Look) -> Style {
    use anstyle::{AnsiColor, Effects};
    let mut drawn = Style::new();
    let effects = style.get_effects();
    if effects.contains(Effects::BOLD) {
        drawn = drawn.add_modifier(Modifier::BOLD);
    }
    if effects.contains(Effects::DIMMED) {
        drawn = drawn.add_modifier(Modifier::DIM);
    }
    let colour = match style.get_fg_color() {
        Some(anstyle::Color::Ansi(AnsiColor::Green)) => Color::Green,
        Some(anstyle::Color::Ansi(AnsiColor::Yellow)) => Color::Yellow,
        Some(anstyle::Color::Ansi(AnsiColor::Red)) => Color::Red,
        Some(anstyle::Color::Ansi(AnsiColor::Magenta)) => Color::Magenta,
        _ => return drawn,
    };
    if look.colour { drawn.fg(colour) } else { drawn }
}

#[cfg(test)]
mod tests;
