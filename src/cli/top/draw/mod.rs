//! The model as a screen. On a small one, what matters less is left out, and what is too long is cut.

mod head;
mod help;
mod lock;
mod locks;
mod style;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use super::model::{Model, Page};
use style::{Style, fit};

/// Below so many lines there is no room for the times and the events.
const LOW: u16 = 16;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let style = Style { colours: model.settings.colours };
    let area = frame.area();
    let trouble = u16::from(model.trouble.is_some());
    let times = if area.height < LOW || model.total.is_none() { 0 } else { head::TIMES_HEIGHT };
    let [title, trouble, times, body, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(trouble),
        Constraint::Length(times),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    head::title(model, style, frame, title);
    head::trouble(model, style, frame, trouble);
    head::times(model, style, frame, times);
    match &model.page {
        _ if model.help => help::draw(style, frame, body),
        Page::Locks => locks::draw(model, style, frame, body),
        Page::Lock { name, scroll } => lock::draw(model, (name, *scroll), style, frame, body),
    }
    footer(model, style, frame, keys);
}

/// The keys, or the prefix that is being typed.
fn footer(model: &Model, style: Style, frame: &mut Frame<'_>, area: Rect) {
    let width = usize::from(area.width);
    let line = match &model.prompt {
        Some(prompt) => {
            let shown = format!("locks that begin with: {}_", super::tame(&prompt.text));
            let note = match &prompt.problem {
                Some(problem) => Span::styled(format!("   {problem}"), style.bad()),
                None => Span::styled("   Enter: do so   Esc: leave it", style.dim()),
            };
            Line::from(vec![Span::raw(shown), note])
        }
        None => Line::styled(fit(keys(model), width), style.dim()),
    };
    frame.render_widget(line, area);
}

const fn keys(model: &Model) -> &'static str {
    match model.page {
        _ if model.help => "any key: back   q: quit",
        Page::Locks => "q: quit   ?: help   /: filter   s: sort   arrows, Enter: one lock   p: pause",
        Page::Lock { .. } => "Esc: back   arrows: scroll   p: pause   ?: help   q: quit",
    }
}
