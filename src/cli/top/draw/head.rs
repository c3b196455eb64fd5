//! Above: who leads, what is wrong, and how long things take.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};

use super::style::{Style, fit};
use crate::cli::text::{count, precise, tame, time_of_day};
use crate::cli::top::model::{Model, Total};
use crate::cli::top::rows::Rates;
use crate::wire::stats::Spread;

/// A heading, four times, and a line between them and what follows.
pub(super) const TIMES_HEIGHT: u16 = 6;

/// What is looked at and since when, and whether it is up to date.
pub(super) fn title(model: &Model, style: Style, frame: &mut Frame<'_>, area: Rect) {
    let (state, shown) = match (&model.trouble, model.is_paused()) {
        (_, true) => ("paused", style.bold()),
        (Some(_), _) => ("old", style.bad()),
        (None, _) => ("live", style.good()),
    };
    // Where it is live, now is when.
    let at = model.total.as_ref().filter(|_| state != "live").map(|total| time_of_day(total.at));
    let at = at.map_or_else(String::new, |at| format!(" {}", at.split('.').next().unwrap_or_default()));
    let right = Line::from(vec![Span::styled(state, shown), Span::raw(at)]);
    let width = u16::try_from(right.width()).unwrap_or(u16::MAX);
    let [left, gap, right_area] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(2), Constraint::Length(width)])
            .areas(area);
    let _ = gap;
    frame.render_widget(Line::styled(fit(headline(model), left.width.into()), style.bold()), left);
    frame.render_widget(right, right_area);
}

fn headline(model: &Model) -> String {
    let namespace = &model.settings.namespace;
    let Some(total) = &model.total else { return format!("natslock {namespace}") };
    let census =
        format!("{}, {}", count(total.figures.holders, "holder"), count(total.figures.waiters, "waiter"));
    format!("{namespace}: {census}{}", leader(total))
}

fn leader(total: &Total) -> String {
    match &total.leaders[..] {
        [] => String::new(),
        [leader, others @ ..] => {
            let others =
                if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
            format!(", led by {} (pid {}){others}", tame(&leader.host), leader.pid)
        }
    }
}

/// Why what is shown is old.
pub(super) fn trouble(model: &Model, style: Style, frame: &mut Frame<'_>, area: Rect) {
    if let Some(trouble) = &model.trouble {
        frame.render_widget(Line::styled(fit(trouble, area.width.into()), style.bad()), area);
    }
}

/// How long things take, and how much is done.
pub(super) fn times(model: &Model, style: Style, frame: &mut Frame<'_>, area: Rect) {
    let Some(total) = model.total.as_ref().filter(|_| area.height > 0) else { return };
    let [left, right] = Layout::horizontal([Constraint::Length(46), Constraint::Min(0)]).areas(area);
    let figures = &total.figures;
    let rows = [
        ("acquire", figures.acquire),
        ("wait", figures.wait),
        ("held", figures.hold),
        ("release", figures.release),
    ];
    let rows = rows.map(|(what, spread)| Row::new(spread_cells(what, spread)));
    let header = Row::new(["TIME TO", "MEAN", "P50", "P99", "MAX"]).style(style.bold());
    let widths = [7, 8, 8, 8, 8].map(Constraint::Length);
    frame.render_widget(Table::new(rows, widths).header(header).column_spacing(1), left);
    frame.render_widget(Paragraph::new(counters(total, style, right.width.into())), right);
}

fn spread_cells(what: &str, spread: Option<Spread>) -> [String; 5] {
    let cell =
        |of: fn(Spread) -> Duration| spread.map_or_else(|| "-".to_owned(), |spread| precise(of(spread)));
    [what.to_owned(), cell(|s| s.mean), cell(|s| s.p50), cell(|s| s.p99), cell(|s| s.max)]
}

fn counters(total: &Total, style: Style, width: usize) -> Vec<Line<'static>> {
    let figures = &total.figures;
    let rate = |of: fn(&Rates) -> f64| {
        total.rates.map_or_else(|| "-".to_owned(), |rates| format!("{}/s", three_digits(of(&rates))))
    };
    let percent = |share: f64| format!("{} %", three_digits(share * 100.0));
    let met = total.rates.and_then(|rates| rates.contention).map_or_else(|| "-".to_owned(), percent);
    let refused: u64 = figures.refusals.values().sum();
    let lines = [
        ("acquires", format!("{}, granted {}", rate(|r| r.acquires), rate(|r| r.grants))),
        ("met others", format!("{met}, in all {}", percent(figures.contention_rate))),
        ("not granted", format!("{}, refused {refused}", rate(|r| r.unmet))),
        ("expired", format!("{}, handed over {}", figures.expiries, figures.handovers)),
    ];
    let epoch = total.epoch.map_or_else(String::new, |epoch| format!("epoch {epoch}"));
    let epoch = Line::styled(fit(epoch, width), style.dim());
    let lines = lines.into_iter().map(|(name, value)| {
        let value = fit(value, width.saturating_sub(13));
        Line::from(vec![Span::styled(format!("{name:11}  "), style.dim()), Span::raw(value)])
    });
    [epoch].into_iter().chain(lines).collect()
}

/// `4.2`, `42`, `4200`: a figure that changes every second needs no more.
pub(super) fn three_digits(number: f64) -> String {
    if number < 10.0 { format!("{number:.1}") } else { format!("{number:.0}") }
}
