//! What is known and shown, and what a key does to it.

use std::time::Duration;

use super::events::Events;
use super::keys::Key;
use super::look::{Sample, Wish};
use super::rows::{self, Growth, Rates, Row, Sort};
use crate::cli::commands::list::{Prefix, beginning};
use crate::cli::text::tame;
use crate::client::Seen;
use crate::types::{Epoch, LockName, Namespace, OwnerName, WallTime};
use crate::wire::info::Leader;
use crate::wire::stats::Figures;

/// So many locks about the chosen one are asked for by name: more than a screen shows.
const NEAR: usize = 50;
/// How far a page goes.
const PAGE: isize = 10;
/// As many characters as a name may have bytes.
const TYPED_MAX: usize = 255;

/// What it begins with.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) namespace: Namespace,
    /// Whose locks are held "by yourself".
    pub(in crate::cli) owner: OwnerName,
    pub(in crate::cli) colours: bool,
    pub(in crate::cli) filter: Prefix,
    pub(in crate::cli) every: Duration,
    pub(in crate::cli) sort: Sort,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Stay,
    Quit,
}

/// What fills the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    Locks,
    /// One lock: its holders and its waiters, from this line on.
    Lock {
        name: LockName,
        scroll: usize,
    },
}

/// A prefix that is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) text: String,
    /// Why no name begins so.
    pub(super) problem: Option<String>,
}

/// What the latest look said of all locks together.
#[derive(Debug)]
pub(super) struct Total {
    pub(super) at: WallTime,
    pub(super) since: WallTime,
    pub(super) epoch: Option<Epoch>,
    pub(super) leaders: Vec<Leader>,
    pub(super) figures: Figures,
    pub(super) rates: Option<Rates>,
    /// The last lock of the page, where there are more.
    pub(super) page_end: Option<LockName>,
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) settings: Settings,
    pub(super) page: Page,
    pub(super) help: bool,
    pub(super) prompt: Option<Prompt>,
    paused: bool,
    /// Why what is shown is old.
    pub(super) trouble: Option<String>,
    pub(super) total: Option<Total>,
    pub(super) rows: Vec<Row>,
    chosen: Option<LockName>,
    pub(super) events: Events,
    growth: Growth,
}

impl Model {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            page: Page::Locks,
            help: false,
            prompt: None,
            paused: false,
            trouble: None,
            total: None,
            rows: Vec::new(),
            chosen: None,
            events: Events::default(),
            growth: Growth::default(),
        }
    }

    /// What the next look is to find; none while the view stands still.
    pub(super) fn next_wish(&self) -> Option<Wish> {
        (!self.paused).then(|| self.wish())
    }

    /// What a look is to find.
    pub(super) fn wish(&self) -> Wish {
        let first = self.chosen_index().saturating_sub(NEAR / 2);
        let near = self.rows.iter().skip(first).take(NEAR);
        let detail = match &self.page {
            Page::Locks => None,
            Page::Lock { name, .. } => Some(name.clone()),
        };
        let also = near.filter(|row| row.is_used() && self.is_behind_the_page(row));
        let also = also.map(|row| row.name.clone()).collect();
        Wish { prefix: self.settings.filter.encoded.clone(), also, detail }
    }

    /// True for a lock that does not come with the page of locks in order of their names.
    fn is_behind_the_page(&self, row: &Row) -> bool {
        let end = self.total.as_ref().and_then(|total| total.page_end.as_ref());
        end.is_some_and(|end| row.name > *end)
    }

    /// A look has brought this.
    pub(super) fn sampled(&mut self, sample: Sample) {
        self.trouble = None;
        // What was asked for before another prefix was typed is out of date.
        if self.paused || sample.prefix != self.settings.filter.encoded {
            return;
        }
        let (rates, of_locks) = self.growth.next(&sample);
        self.rows = rows::rows(&sample, of_locks);
        rows::sort(&mut self.rows, self.settings.sort);
        self.total = Some(Total {
            at: sample.wall,
            since: sample.stats.since,
            epoch: sample.epoch,
            leaders: sample.leaders,
            figures: sample.stats.total,
            rates,
            page_end: sample.page_end,
        });
    }

    /// There is no answer, because of this.
    pub(super) fn troubled(&mut self, why: &str) {
        self.trouble = Some(tame(why));
    }

    pub(super) fn heard(&mut self, seen: &[Seen]) {
        seen.iter().for_each(|seen| self.events.add(seen, self.paused));
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.paused
    }

    /// The place of the chosen lock; the first where it is gone.
    pub(super) fn chosen_index(&self) -> usize {
        let chosen = self.chosen.as_ref();
        chosen.and_then(|name| self.rows.iter().position(|row| row.name == *name)).unwrap_or(0)
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: Key) -> Flow {
        if key == Key::Interrupt {
            return Flow::Quit;
        }
        if self.prompt.is_some() {
            self.typed(key);
            return Flow::Stay;
        }
        if self.help {
            // Any key closes it.
            self.help = false;
            return if key == Key::Char('q') { Flow::Quit } else { Flow::Stay };
        }
        match key {
            Key::Char('q') => return Flow::Quit,
            Key::Char('?' | 'h') => self.help = true,
            Key::Char('p' | ' ') => self.pause(),
            _ => match self.page {
                Page::Locks => self.in_locks(key),
                Page::Lock { .. } => self.in_lock(key),
            },
        }
        Flow::Stay
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if !self.paused {
            self.events.resume();
        }
    }

    fn in_locks(&mut self, key: Key) {
        match key {
            Key::Char('/') => {
                let text = self.settings.filter.typed.clone();
                self.prompt = Some(Prompt { text, problem: None });
            }
            Key::Char('s') => {
                self.settings.sort = self.settings.sort.next();
                rows::sort(&mut self.rows, self.settings.sort);
            }
            Key::Escape => self.filter(Prefix::default()),
            Key::Enter => {
                if let Some(row) = self.rows.get(self.chosen_index()) {
                    self.page = Page::Lock { name: row.name.clone(), scroll: 0 };
                }
            }
            _ => {
                if let Some(distance) = distance(key) {
                    let index = moved(self.chosen_index(), distance, self.rows.len());
                    self.chosen = self.rows.get(index).map(|row| row.name.clone());
                }
            }
        }
    }

    fn in_lock(&mut self, key: Key) {
        let Page::Lock { name, scroll } = &mut self.page else { return };
        if matches!(key, Key::Escape | Key::Enter | Key::Backspace) {
            self.chosen = Some(name.clone());
            self.page = Page::Locks;
        } else if let Some(distance) = distance(key) {
            let row = self.rows.iter().find(|row| row.name == *name);
            let lines = row.and_then(|row| row.view.as_ref());
            let lines = lines.map_or(0, |view| view.holders.len().max(view.waiters.len()));
            *scroll = moved(*scroll, distance, lines);
        }
    }

    fn typed(&mut self, key: Key) {
        let Some(prompt) = &mut self.prompt else { return };
        match key {
            Key::Escape => self.prompt = None,
            Key::Enter => match beginning(&prompt.text) {
                Ok(prefix) => {
                    self.prompt = None;
                    self.filter(prefix);
                }
                Err(why) => prompt.problem = Some(why),
            },
            Key::Backspace => {
                prompt.text.pop();
                prompt.problem = None;
            }
            Key::Char(c) if prompt.text.chars().count() < TYPED_MAX => {
                prompt.text.push(c);
                prompt.problem = None;
            }
            _ => {}
        }
    }

    /// What is known is filtered at once; the rest comes with the next look.
    fn filter(&mut self, prefix: Prefix) {
        self.rows.retain(|row| row.name.as_str().starts_with(&prefix.encoded));
        self.settings.filter = prefix;
    }
}

/// How far a key goes; `isize::MIN` and `MAX` are the ends.
const fn distance(key: Key) -> Option<isize> {
    Some(match key {
        Key::Up | Key::Char('k') => -1,
        Key::Down | Key::Char('j') => 1,
        Key::PageUp => -PAGE,
        Key::PageDown => PAGE,
        Key::Home | Key::Char('g') => isize::MIN,
        Key::End | Key::Char('G') => isize::MAX,
        _ => return None,
    })
}

fn moved(index: usize, distance: isize, count: usize) -> usize {
    index.saturating_add_signed(distance).min(count.saturating_sub(1))
}
