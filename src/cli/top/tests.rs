//! The model pressed and fed by hand, and drawn on a terminal in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};

use super::draw;
use super::keys::Key;
use super::look::Sample;
use super::model::{Flow, Model, Page, Settings};
use super::rows::Sort;
use crate::cli::commands::list::Prefix;
use crate::client::Seen;
use crate::engine::message::{HolderView, LockView, WaiterView};
use crate::types::{
    CoordinatorId, Epoch, LockName, Mode, Namespace, OwnerName, Revision, ShardId, Timestamp, Token, WallTime,
};
use crate::wire::event;
use crate::wire::info::Leader;
use crate::wire::stats::{Figures, Spread, Stats};

const BEGAN: u64 = 1_700_000_000_000;

fn settings() -> Settings {
    Settings {
        namespace: Namespace::default(),
        owner: owner("ada@host"),
        colours: true,
        filter: Prefix::default(),
        every: Duration::from_secs(1),
        sort: Sort::Rate,
    }
}

fn owner(name: &str) -> OwnerName {
    OwnerName::encode(name).unwrap()
}

fn name(name: &str) -> LockName {
    LockName::encode(name).unwrap()
}

fn holder(who: &str, token: u64, seconds: u64, note: Option<&str>) -> HolderView {
    HolderView {
        owner: owner(who),
        token: Token::new(Revision::new(14_365_264_180_000 + token), 0),
        mode: Mode::Exclusive,
        permits: None,
        held: Duration::from_secs(seconds),
        expires_in: Some(Duration::from_millis(29_500)),
        note: note.map(|note| note.parse().unwrap()),
    }
}

fn view(holders: Vec<HolderView>, waiting: usize) -> LockView {
    let waiter = |position| WaiterView {
        owner: owner(&format!("worker-{position}")),
        mode: Mode::Exclusive,
        waited: Duration::from_millis(1_000 * (waiting - position + 1) as u64),
        position,
    };
    let waiters: Vec<_> = (1..=waiting).map(waiter).collect();
    LockView { mode: Mode::Exclusive, holder_count: holders.len(), holders, waiter_count: waiting, waiters }
}

fn figures(acquires: u64, contended: u64) -> Figures {
    let micros = Duration::from_micros;
    let times = |p50: u64| Spread {
        mean: micros(p50 * 2),
        p50: micros(p50),
        p99: micros(p50 * 9),
        max: micros(p50 * 30),
    };
    Figures {
        acquires,
        grants: acquires - contended / 2,
        contended,
        contention_rate: contended as f64 / acquires as f64,
        acquire: Some(times(420)),
        wait: Some(times(15_000)),
        hold: Some(times(90_000)),
        release: Some(times(380)),
        handovers: contended / 2,
        expiries: 2,
        held: contended / 4,
        ..Figures::default()
    }
}

/// The state of things so many seconds after the first look.
fn sample(second: u64) -> Sample {
    let orders = view(vec![holder("build-7", 4_711, 3, Some("nightly"))], 3);
    let readers = vec![holder("reader-1", 90, 60, None), holder("reader-2", 97, 5, None)];
    let hostile = view(vec![holder("eve\u{1b}[2J", 8, 7_500, Some("\u{1b}]0;owned\u{7}\u{202e}"))], 0);
    let locks = [
        (name("orders.42"), orders),
        (name("reports/2026"), LockView { mode: Mode::Shared, ..view(readers, 0) }),
        (name("订单.\u{1b}[31m42\r\n"), hostile),
    ];
    let busy =
        |acquires, contended, holders, waiters| Figures { holders, waiters, ..figures(acquires, contended) };
    let stats = Stats {
        since: WallTime(BEGAN - 3_600_000),
        total: Figures { holders: 4, waiters: 3, ..figures(1_000 + 150 * second, 100 + 30 * second) },
        locks: vec![
            (name("orders.42"), busy(700 + 100 * second, 90, 1, 3)),
            (name(&format!("jobs.{}", "long-".repeat(12))), busy(200 + 40 * second, 4, 0, 0)),
            (name("zebra"), busy(10, 1, 1, 0)),
        ],
    };
    let leader = Leader {
        shard: ShardId(0),
        epoch: Epoch::new(Revision::new(14_365_264_179_000)),
        coordinator: CoordinatorId(7),
        host: "db-1".to_owned(),
        pid: 4_123,
    };
    Sample {
        at: Timestamp::from_millis(5_000 + 1_000 * second),
        wall: WallTime(BEGAN + 1_000 * second),
        epoch: Some(Epoch::new(Revision::new(14_365_264_179_000))),
        leaders: vec![leader],
        stats,
        prefix: String::new(),
        locks: BTreeMap::from(locks),
        page_end: None,
    }
}

fn heard(kind: &str, lock: &str, token: u64) -> Seen {
    let lock = name(lock);
    let raw = format!(
        r#"{{"kind":"{kind}","name":"{}","owner":"build-7","token":{token},"mode":"exclusive","held_ms":1250,"reason":"released","next_owner":"worker-1","waiter_count":2,"epoch":42,"at_ms":{BEGAN}}}"#,
        lock.as_str()
    );
    Seen { heard: event::decode(raw.as_bytes()), raw: raw.into() }
}

/// After two looks and some events.
fn model() -> Model {
    let mut model = Model::new(settings());
    model.sampled(sample(0));
    model.sampled(sample(1));
    model.heard(&[heard("released", "orders.42", 4_710), heard("expired", "订单.\u{1b}[31m42\r\n", 7)]);
    model
}

fn terminal(model: &Model, columns: u16, lines: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw::draw(model, frame)).unwrap();
    terminal
}

fn drawn(model: &Model, columns: u16, lines: u16) -> String {
    terminal(model, columns, lines).backend().to_string()
}

/// Beside those of the other commands.
macro_rules! assert_drawn {
    ($name:expr, $drawn:expr) => {
        insta::with_settings!({ snapshot_path => "../../../tests/cli/snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!($name, $drawn);
        })
    };
}

fn press(model: &mut Model, keys: &[Key]) {
    for key in keys {
        assert_eq!(model.press(*key), Flow::Stay, "{key:?}");
    }
}

fn typed(text: &str) -> Vec<Key> {
    text.chars().map(Key::Char).collect()
}

/// The locks in the order in which they are shown.
fn order(model: &Model) -> Vec<String> {
    model.rows.iter().map(|row| row.name.as_str().chars().take(8).collect()).collect()
}

#[test]
fn the_locks_are_shown_on_a_small_terminal_and_on_a_wide_one() {
    assert_drawn!("top_small", drawn(&model(), 80, 24));
    assert_drawn!("top_wide", drawn(&model(), 150, 36));
}

#[test]
fn before_the_second_look_nothing_is_said_of_rates() {
    let mut model = Model::new(settings());
    model.sampled(sample(0));
    assert!(model.total.as_ref().is_some_and(|total| total.rates.is_none()));
    assert!(model.rows.iter().all(|row| row.rate.is_none()));
    model.sampled(sample(2));
    let rates = model.total.as_ref().and_then(|total| total.rates).unwrap();
    assert_eq!((rates.acquires, rates.contention), (150.0, Some(0.2)));
    assert_eq!(model.rows[0].rate, Some(100.0));
    // Another coordinator counts from zero.
    let mut successor = sample(3);
    successor.stats.since = WallTime(BEGAN);
    model.sampled(successor);
    assert!(model.total.as_ref().is_some_and(|total| total.rates.is_none()));
}

#[test]
fn one_lock_is_shown_with_its_holders_and_waiters() {
    let mut model = model();
    press(&mut model, &[Key::Enter]);
    assert_eq!(model.wish().detail, Some(name("orders.42")));
    assert_drawn!("top_lock", drawn(&model, 80, 24));
    press(&mut model, &[Key::Down, Key::Down, Key::Down]);
    assert!(!drawn(&model, 80, 24).contains("worker-1"), "scrolled");
    press(&mut model, &[Key::Escape]);
    assert_eq!((&model.page, model.wish().detail), (&Page::Locks, None));
}

#[test]
fn many_holders_and_waiters_are_counted_where_there_is_no_room() {
    let mut sample = sample(0);
    let holders = (1..=40).map(|number| holder(&format!("reader-{number}"), number, number, None));
    sample.locks.insert(name("orders.42"), LockView { mode: Mode::Shared, ..view(holders.collect(), 90) });
    let mut model = Model::new(settings());
    model.sampled(sample);
    press(&mut model, &[Key::Down, Key::Down, Key::Enter]);
    let screen = drawn(&model, 80, 24);
    assert!(screen.contains("40 in all") && screen.contains("90 in all"), "{screen}");
}

#[test]
fn what_others_wrote_is_no_command_for_the_terminal() {
    let mut model = model();
    press(&mut model, &[Key::End, Key::Up, Key::Enter]);
    let screen = drawn(&model, 160, 24);
    for shown in [r"订单.\u{1b}[31m42\r\n", r"eve\u{1b}[2J", r"\u{1b}]0;owned\u{7}\u{202e}"] {
        // A wide character takes two cells, the second of which is drawn as a blank.
        let shown = shown.replace('订', "订 ").replace('单', "单 ");
        assert!(
            screen.contains(&shown) || screen.contains(&shown.replace(' ', "")),
            "{shown} is not in\n{screen}"
        );
    }
    for screen in [screen, drawn(&model, 80, 24)] {
        assert!(screen.chars().all(|c| c == '\n' || !c.is_control()), "{screen:?}");
    }
}

#[test]
fn locks_can_be_sorted() {
    let mut model = model();
    assert_eq!(order(&model), ["orders.4", "jobs.lon", "zebra", "=E8=AE=A", "reports/"]);
    press(&mut model, &typed("s"));
    assert_eq!(order(&model)[0], "orders.4", "it has the most waiters");
    press(&mut model, &typed("ss"));
    assert_eq!(order(&model)[0], "=E8=AE=A", "it is held longest");
    press(&mut model, &typed("ss"));
    assert_eq!(order(&model)[0], "=E8=AE=A", "it comes first by name");
    press(&mut model, &typed("s"));
    assert_eq!(model.settings.sort, Sort::Rate);
}

#[test]
fn the_chosen_lock_stays_chosen_wherever_it_goes() {
    let mut model = model();
    press(&mut model, &[Key::Down, Key::Down]);
    let chosen = model.rows[model.chosen_index()].name.clone();
    press(&mut model, &typed("sssss"));
    assert_eq!(model.rows[model.chosen_index()].name, chosen);
    press(&mut model, &[Key::End, Key::PageUp, Key::Home]);
    assert_eq!(model.chosen_index(), 0);
    press(&mut model, &[Key::PageDown]);
    assert_eq!(model.chosen_index(), 4);
}

#[test]
fn a_prefix_is_typed_and_can_be_left() {
    let mut model = model();
    press(&mut model, &typed("/订q"));
    assert_eq!(model.rows.len(), 5, "q is a letter here");
    assert_drawn!("top_filter", drawn(&model, 80, 24));
    press(&mut model, &[Key::Backspace, Key::Enter]);
    assert_eq!((order(&model), model.wish().prefix.as_str()), (vec!["=E8=AE=A".to_owned()], "=E8=AE=A2"));
    // The answer to what was asked before comes later, and is no longer wanted.
    model.sampled(sample(2));
    assert_eq!(model.rows.len(), 1);
    assert!(!drawn(&model, 80, 24).contains("orders.42"), "events are filtered, too");
    press(&mut model, &typed("/.."));
    press(&mut model, &[Key::Enter]);
    assert!(model.prompt.as_ref().is_some_and(|prompt| prompt.problem.is_some()));
    press(&mut model, &[Key::Escape, Key::Escape]);
    assert_eq!(model.wish().prefix, "");
}

#[test]
fn a_view_that_stands_still_asks_for_nothing_and_changes_nothing() {
    let mut model = model();
    press(&mut model, &typed("p"));
    assert!(model.next_wish().is_none());
    let before = drawn(&model, 80, 24);
    assert!(before.contains("paused"));
    model.sampled(sample(9));
    model.heard(&[heard("granted", "later", 9)]);
    assert_eq!(drawn(&model, 80, 24), before);
    press(&mut model, &typed("p"));
    assert!(model.next_wish().is_some() && drawn(&model, 80, 24).contains("later"));
}

#[test]
fn what_is_old_is_said_to_be() {
    let mut model = model();
    model.troubled("the connection to the NATS server is lost: connecting again");
    assert_drawn!("top_trouble", drawn(&model, 80, 24));
    model.sampled(sample(2));
    assert!(!drawn(&model, 80, 24).contains("lost"));
}

#[test]
fn busy_locks_behind_the_page_are_asked_for_by_name() {
    let mut sample = sample(0);
    sample.page_end = Some(name("reports/2026"));
    let mut model = Model::new(settings());
    model.sampled(sample);
    assert_eq!(model.wish().also, [name("zebra")], "it is held, and its name comes later");
}

#[test]
fn the_help_says_what_the_keys_do_and_any_key_closes_it() {
    let mut model = model();
    press(&mut model, &typed("?"));
    assert_drawn!("top_help", drawn(&model, 80, 24));
    press(&mut model, &typed("s"));
    assert_eq!((model.help, model.settings.sort), (false, Sort::Rate));
    for (key, flow) in [(Key::Char('q'), Flow::Quit), (Key::Interrupt, Flow::Quit), (Key::Escape, Flow::Stay)]
    {
        assert_eq!(model.press(key), flow);
    }
}

#[test]
fn no_terminal_is_too_small() {
    for help in [false, true] {
        for page in [Page::Locks, Page::Lock { name: name("orders.42"), scroll: 1 }] {
            let mut model = model();
            (model.page, model.help) = (page, help);
            model.troubled("why");
            for (columns, lines) in
                [(1, 1), (2, 3), (10, 2), (20, 6), (40, 12), (79, 23), (500, 5), (20, 200)]
            {
                drawn(&model, columns, lines);
            }
        }
    }
}

#[test]
fn without_colours_what_is_chosen_and_what_is_wrong_is_still_seen() {
    let mut settings = settings();
    for colours in [true, false] {
        settings.colours = colours;
        let mut model = Model::new(settings.clone());
        model.sampled(sample(0));
        model.troubled("why");
        let terminal = terminal(&model, 80, 24);
        let cells = &terminal.backend().buffer().content;
        assert_eq!(cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset), colours);
        assert!(cells.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)));
        assert!(cells.iter().any(|cell| cell.modifier.contains(Modifier::BOLD)));
    }
}
