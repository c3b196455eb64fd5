//! What the keys do, and what the columns mean.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::style::Style;

const KEYS: [(&str, &str); 9] = [
    ("arrows, j k", "choose a lock, or scroll"),
    ("PgUp PgDn Home End", "the same in larger steps"),
    ("Enter", "show the chosen lock: all holders, all waiters in order"),
    ("Esc", "go back; among the locks: show all of them again"),
    ("/", "show only locks whose names begin with what is typed"),
    ("s", "sort: rate, waiters, wait, held, time left, name"),
    ("p, space", "stand still, and go on"),
    ("?, h", "this help"),
    ("q, Ctrl-C", "quit"),
];

const COLUMNS: [(&str, &str); 5] = [
    ("ACQ/S", "acquires a second since the look before"),
    ("MET", "the share of acquires that met a holder or a waiter"),
    ("LEFT", "until the first lease ends that is not renewed; ? after a takeover"),
    ("TOKEN", "the fencing token of the latest holder"),
    ("P50, P99, MAX", "since the coordinator that leads was started"),
];

pub(super) fn draw(style: Style, frame: &mut Frame<'_>, area: Rect) {
    let heading = |text: &'static str| Line::styled(text, style.bold());
    let line = |(name, what): &(&'static str, &'static str)| {
        Line::from(vec![Span::raw(format!("  {name:20}")), Span::styled(*what, style.dim())])
    };
    let lines = [heading("KEYS")].into_iter().chain(KEYS.iter().map(line));
    let lines = lines.chain([heading("COLUMNS")]).chain(COLUMNS.iter().map(line));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}
