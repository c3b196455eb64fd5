//! One lock: its figures, its holders, and its waiters in order.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row as TableRow, Table};

use super::style::{Style, fit};
use crate::cli::describe;
use crate::cli::text::{precise, span, tame};
use crate::cli::top::model::Model;
use crate::engine::message::{HolderView, LockView, WaiterView};
use crate::types::{LockName, Note};
use crate::wire::stats::{Figures, Spread};

pub(super) fn draw(
    model: &Model,
    (name, scroll): (&LockName, usize),
    style: Style,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let row = model.rows.iter().find(|row| row.name == *name);
    let view = row.and_then(|row| row.view.as_ref());
    let said = view.map_or_else(
        || format!("{} is free", describe::lock(name)),
        |view| describe::held(name, view, &model.settings.owner),
    );
    let width = usize::from(area.width);
    let mut above = vec![Line::styled(fit(said, width), style.bold())];
    let figures = row.and_then(|row| row.figures.as_ref());
    above.extend(figures.into_iter().flat_map(sentences).map(|line| Line::raw(fit(line, width))));
    above.push(Line::raw(""));
    let height = u16::try_from(above.len()).unwrap_or(u16::MAX);
    let [head, lists] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(area);
    frame.render_widget(Paragraph::new(above), head);
    let Some(view) = view else { return };
    let listed = u16::try_from(view.holders.len()).unwrap_or(u16::MAX).saturating_add(2);
    let half = if view.waiter_count == 0 { lists.height } else { lists.height / 2 };
    let [holders, waiters] =
        Layout::vertical([Constraint::Length(listed.min(half)), Constraint::Min(0)]).areas(lists);
    self::holders(view, scroll, style, frame, holders);
    self::waiters(view, scroll, style, frame, waiters);
}

/// What is counted of it.
fn sentences(figures: &Figures) -> [String; 2] {
    let p = |spread: Option<Spread>| {
        let two = |spread: Spread| format!("{}/{}", precise(spread.p50), precise(spread.p99));
        spread.map_or_else(|| "-".to_owned(), two)
    };
    [
        format!(
            "{} acquires, {:.1} % met others; {} handed over, {} timed out, {} expired",
            figures.acquires,
            figures.contention_rate * 100.0,
            figures.handovers,
            figures.timeouts,
            figures.expiries
        ),
        format!(
            "p50/p99: acquire {}, wait {}, held {}",
            p(figures.acquire),
            p(figures.wait),
            p(figures.hold)
        ),
    ]
}

fn holders(view: &LockView, scroll: usize, style: Style, frame: &mut Frame<'_>, area: Rect) {
    let widths = [Constraint::Fill(3), len(16), len(7), len(11), len(11), Constraint::Fill(2)];
    let title = ["HOLDER", "TOKEN", "PERMITS", "HELD FOR", "LEFT", "NOTE"];
    let rows = view.holders.iter().map(holder);
    list((title, widths), rows.skip(scroll), view.holder_count, style, frame, area);
}

fn waiters(view: &LockView, scroll: usize, style: Style, frame: &mut Frame<'_>, area: Rect) {
    if view.waiter_count == 0 {
        return;
    }
    let widths = [len(8), Constraint::Fill(1), len(14), len(12)];
    let title = ["POSITION", "WAITER", "MODE", "WAITS FOR"];
    let rows = view.waiters.iter().map(waiter);
    list((title, widths), rows.skip(scroll), view.waiter_count, style, frame, area);
}

const fn len(columns: u16) -> Constraint {
    Constraint::Length(columns)
}

/// As many lines as there is room for; the last says how many there are where that is not all.
fn list<const N: usize>(
    (titles, widths): ([&str; N], [Constraint; N]),
    rows: impl Iterator<Item = [String; N]>,
    count_of_all: usize,
    style: Style,
    frame: &mut Frame<'_>,
    area: Rect,
) {
    let places = Layout::horizontal(widths).spacing(1).split(area);
    let rows = rows.map(|cells| {
        let cells = cells.into_iter().zip(places.iter());
        TableRow::new(cells.map(|(cell, area)| fit(cell, area.width.into())))
    });
    let room = usize::from(area.height.saturating_sub(1));
    let header = TableRow::new(titles).style(style.bold());
    frame.render_widget(Table::new(rows.take(room), widths).header(header).column_spacing(1), area);
    if count_of_all > room && area.height > 1 {
        let last = Rect { y: area.bottom() - 1, height: 1, ..area };
        frame.render_widget(ratatui::widgets::Clear, last);
        frame.render_widget(Line::styled(format!("{count_of_all} in all"), style.dim()), last);
    }
}

fn holder(holder: &HolderView) -> [String; 6] {
    [
        tame(&holder.owner.to_string()),
        holder.token.to_string(),
        holder.permits.map_or_else(|| "-".to_owned(), |permits| permits.to_string()),
        span(holder.held),
        describe::expires(Some(holder)),
        holder.note.as_ref().map_or_else(String::new, |note| tame(Note::as_str(note))),
    ]
}

fn waiter(waiter: &WaiterView) -> [String; 4] {
    [
        waiter.position.to_string(),
        tame(&waiter.owner.to_string()),
        describe::mode(waiter.mode, None),
        span(waiter.waited),
    ]
}
