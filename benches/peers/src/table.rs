//! The table, as it stands in the README.

use crate::peers::Class;
use crate::stats::Figures;

/// A row: who, and the medians of each workload.
pub struct Row {
    pub class: Class,
    pub name: &'static str,
    /// W1 to W4, as far as it got.
    pub figures: [Option<Figures>; 4],
    /// Why it got no further.
    pub failed: Option<String>,
}

impl Row {
    fn is_natslock(&self) -> bool {
        self.name.contains("natslock")
    }
}

pub fn print(rows: &[Row]) {
    println!(
        "| survives | lock service | W1 pairs/s | acquire p50 | W2 pairs/s | W3 hand-overs/s | gap p50 | W4 hand-overs/s | longest wait / mean, W3 and W4 | Jain, W4 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let [w1, _, w3, w4] = &row.figures;
        let cells = [
            survives(row.class).to_owned(),
            row.name.to_owned(),
            rate(rows, row, 0),
            cell(w1, |figures| format!("{:.0} us", figures.acquire_p50)),
            rate(rows, row, 1),
            rate(rows, row, 2),
            cell(w3, |figures| format!("{:.0} us", figures.gap_p50)),
            rate(rows, row, 3),
            format!("{}, {}", cell(w3, longest), cell(w4, longest)),
            cell(w4, |figures| format!("{:.2}", figures.jain)),
        ];
        println!("| {} |", cells.join(" | "));
    }
    for (row, failed) in rows.iter().filter_map(|row| Some((row, row.failed.as_ref()?))) {
        println!("\n{} ({}) gave up in {failed}", row.name, survives(row.class));
    }
}

fn cell(figures: &Option<Figures>, text: fn(&Figures) -> String) -> String {
    figures.as_ref().map_or_else(|| "-".to_owned(), text)
}

fn longest(figures: &Figures) -> String {
    format!("{:.1}", figures.longest_over_mean)
}

const fn survives(class: Class) -> &'static str {
    match class {
        Class::Memory => "nothing (memory)",
        Class::PageCache => "a killed process",
        Class::Fsync => "a power cut",
    }
}

/// How many a second, and natslock's in the same class as a multiple of it.
fn rate(rows: &[Row], row: &Row, workload: usize) -> String {
    let of = |row: &Row| row.figures[workload].as_ref().map(|figures| figures.per_second);
    let Some(mine) = of(row) else { return "-".to_owned() };
    // natslock keeps nothing in memory only.
    let class = if row.class == Class::Memory { Class::PageCache } else { row.class };
    let natslock = rows.iter().find(|other| other.is_natslock() && other.class == class);
    match natslock.filter(|_| !row.is_natslock()).and_then(of) {
        Some(natslock) => format!("{} ({})", thousands(mine), multiple(natslock / mine)),
        None => thousands(mine),
    }
}

fn multiple(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

/// `12 345`.
fn thousands(value: f64) -> String {
    let whole = value.round() as u64;
    if whole < 1_000 { whole.to_string() } else { format!("{} {:03}", whole / 1_000, whole % 1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_natslock_of_the_same_class() {
        let figures = |per_second: f64| {
            let figures =
                Figures { per_second, acquire_p50: 1.0, gap_p50: 1.0, longest_over_mean: 1.0, jain: 1.0 };
            [Some(figures); 4]
        };
        let row = |class, name, per_second| Row { class, name, figures: figures(per_second), failed: None };
        let rows = [
            row(Class::PageCache, "**natslock**", 3_000.0),
            row(Class::Memory, "a", 1_500.0),
            row(Class::Fsync, "b", 40.0),
            row(Class::Fsync, "**natslock**", 1_000.0),
        ];
        let cells: Vec<_> = rows.iter().map(|row| rate(&rows, row, 2)).collect();
        assert_eq!(cells, ["3 000", "1 500 (2.00)", "40 (25)", "1 000"]);
    }
}
