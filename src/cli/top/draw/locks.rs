//! The locks, one a line, and the latest events below them.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Row as TableRow, Table};

use super::head::three_digits;
use super::style::{Style, fit};
use crate::cli::describe;
use crate::cli::text::{count, precise, span, tame};
use crate::cli::top::model::Model;
use crate::cli::top::rows::Row;

/// Of a body of so many lines, events get some.
const ROOM_FOR_EVENTS: u16 = 14;

/// A column of the table.
struct Column {
    title: &'static str,
    /// None for one that shares what the others leave.
    width: Option<u16>,
    /// Shown on terminals that are at least so wide.
    from: u16,
    cell: fn(&Row) -> String,
}

const COLUMNS: [Column; 11] = [
    Column { title: "LOCK", width: None, from: 0, cell: |row| tame(&row.name.to_string()) },
    Column { title: "ACQ/S", width: Some(6), from: 0, cell: rate },
    Column { title: "MET", width: Some(7), from: 100, cell: met },
    Column { title: "ACQUIRE P99", width: Some(11), from: 120, cell: |row| p99(row, |f| f.acquire) },
    Column { title: "WAIT P99", width: Some(8), from: 100, cell: |row| p99(row, |f| f.wait) },
    Column { title: "HOLDER", width: None, from: 0, cell: holder },
    Column { title: "HELD FOR", width: Some(11), from: 120, cell: |row| some(row.held().map(span)) },
    Column { title: "LEFT", width: Some(11), from: 0, cell: left },
    Column { title: "TOKEN", width: Some(16), from: 0, cell: token },
    Column { title: "EXPIRED", width: Some(7), from: 140, cell: expired },
    Column { title: "WAITERS", width: Some(7), from: 0, cell: waiters },
];

pub(super) fn draw(model: &Model, style: Style, frame: &mut Frame<'_>, area: Rect) {
    let events = if area.height < ROOM_FOR_EVENTS { 0 } else { (area.height / 3).clamp(5, 14) };
    let [table, events] = Layout::vertical([Constraint::Min(0), Constraint::Length(events)]).areas(area);
    locks(model, style, frame, table);
    latest(model, style, frame, events);
}

fn locks(model: &Model, style: Style, frame: &mut Frame<'_>, area: Rect) {
    let [heading, table] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    frame.render_widget(Line::styled(fit(heading_of(model), heading.width.into()), style.dim()), heading);
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| area.width >= column.from).collect();
    let widths = columns.iter().map(|column| column.width.map_or(Constraint::Fill(1), Constraint::Length));
    let widths: Vec<Constraint> = widths.collect();
    // The header takes the first line.
    let lines = usize::from(table.height.saturating_sub(1));
    let chosen = model.chosen_index();
    let first = chosen.saturating_sub(lines.saturating_sub(1));
    let shared = Layout::horizontal(&widths).spacing(1).split(table);
    let rows = model.rows.iter().enumerate().skip(first).take(lines).map(|(index, row)| {
        let cells = columns.iter().zip(shared.iter());
        let cells = cells.map(|(column, area)| fit((column.cell)(row), area.width.into()));
        let shown = TableRow::new(cells);
        if index == chosen { shown.style(style.chosen()) } else { shown }
    });
    let header = TableRow::new(columns.iter().map(|column| column.title)).style(style.bold());
    frame.render_widget(Table::new(rows, widths.clone()).header(header).column_spacing(1), table);
}

fn heading_of(model: &Model) -> String {
    let filter = &model.settings.filter.typed;
    let which =
        if filter.is_empty() { String::new() } else { format!(" that begin with `{}`", tame(filter)) };
    let many = match model.total.as_ref().and_then(|total| total.page_end.as_ref()) {
        Some(_) => ", the busiest and the first of many by name",
        None if model.rows.is_empty() => ", none at this moment",
        None => "",
    };
    let counted = model.total.as_ref().map(|total| total.at.0.saturating_sub(total.since.0));
    let counted = counted.map_or_else(String::new, |ms| span(Duration::from_millis(ms)));
    format!("locks{which} by {}{many}; counted for {counted}", model.settings.sort.word())
}

fn latest(model: &Model, style: Style, frame: &mut Frame<'_>, area: Rect) {
    // A line is left free above.
    let Some(lines) = usize::from(area.height).checked_sub(2) else { return };
    let [_, heading, table] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0)]).areas(area);
    frame.render_widget(Line::styled("LATEST EVENTS", style.bold()), heading);
    let widths = [
        Constraint::Length(12),
        Constraint::Length(8),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Fill(4),
    ];
    let places = Layout::horizontal(widths).spacing(1).split(table);
    let rows = model.events.latest(&model.settings.filter.encoded).take(lines).map(|line| {
        let [at, kind, lock, owner, token, more] = &line.columns;
        let more = if more.is_empty() { token.clone() } else { format!("{token}, {more}") };
        let cells = [at, kind, lock, owner, &more];
        TableRow::new(cells.into_iter().zip(places.iter()).map(|(cell, area)| fit(cell, area.width.into())))
    });
    frame.render_widget(Table::new(rows, widths).column_spacing(1), table);
}

fn some(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn rate(row: &Row) -> String {
    some(row.rate.map(three_digits))
}

fn met(row: &Row) -> String {
    some(row.figures.as_ref().map(|figures| format!("{:.1} %", figures.contention_rate * 100.0)))
}

fn p99(row: &Row, of: fn(&crate::wire::stats::Figures) -> Option<crate::wire::stats::Spread>) -> String {
    some(row.figures.as_ref().and_then(of).map(|spread| precise(spread.p99)))
}

fn expired(row: &Row) -> String {
    some(row.figures.as_ref().map(|figures| figures.expiries.to_string()))
}

fn holder(row: &Row) -> String {
    let first = row.view.as_ref().and_then(|view| view.holders.first());
    match (first, row.holders()) {
        (None, 0) => "-".to_owned(),
        (None, holders) => count(holders, "holder"),
        (Some(first), 0 | 1) => tame(&first.owner.to_string()),
        (Some(first), holders) => format!("{} +{}", tame(&first.owner.to_string()), holders - 1),
    }
}

/// Until the first of its leases ends.
fn left(row: &Row) -> String {
    match (row.left(), row.view.as_ref().and_then(|view| view.holders.first())) {
        (Some(left), _) => span(left),
        (None, first @ Some(_)) => describe::expires(first),
        (None, None) => "-".to_owned(),
    }
}

/// The token of the latest grant.
fn token(row: &Row) -> String {
    let holders = row.view.iter().flat_map(|view| &view.holders);
    some(holders.map(|holder| holder.token).max().map(|token| token.to_string()))
}

fn waiters(row: &Row) -> String {
    row.waiters().to_string()
}
