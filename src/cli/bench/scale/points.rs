//! Costs against sizes.

use serde::Serialize;

use super::super::plot::{Axis, Line, Plot};
use crate::cli::error::CommandError;
use crate::cli::output::Output;

/// A cost may grow as its size to this power and still count as linear: measurements are not exact.
const LINEAR: f64 = 1.1;

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::cli) struct Points(Vec<Point>);

/// What something costs at a size.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Point {
    what: &'static str,
    unit: &'static str,
    size: usize,
    value: f64,
}

impl Points {
    pub(super) fn add(&mut self, what: &'static str, size: usize, value: f64, unit: &'static str) {
        self.0.push(Point { what, unit, size, value });
    }

    pub(in crate::cli) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// To which power of its size a cost grows, from the size before; nothing for the first size.
    fn growth(&self, point: &Point) -> Option<f64> {
        let smaller = self.0.iter().filter(|other| other.what == point.what && other.size < point.size);
        let before = smaller.max_by_key(|other| other.size)?;
        let growth = (point.value / before.value).ln() / (point.size as f64 / before.size as f64).ln();
        growth.is_finite().then_some(growth)
    }

    pub(in crate::cli) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    pub(in crate::cli) fn svg(&self) -> String {
        let mut lines: Vec<Line> = Vec::new();
        for point in self.0.iter().filter(|point| point.size > 0 && point.value > 0.0) {
            let name = format!("{}, {}", point.what, point.unit);
            let place = (point.size as f64, point.value);
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(place),
                None => lines.push(Line { name, points: vec![place] }),
            }
        }
        let tick = |value: f64| format!("{value}");
        let plot = Plot {
            title: "What sizes cost".into(),
            x: Axis { label: "how many", tick },
            y: Axis { label: "cost", tick },
            lines,
        };
        plot.svg()
    }
}

/// A table of all of them.
pub(in crate::cli) fn print(points: &Points, output: Output) -> Result<(), CommandError> {
    let rows = points.0.iter().map(|point| {
        let growth = points.growth(point);
        let verdict = growth.map_or("", |growth| if growth <= LINEAR { "" } else { "more than linear" });
        [
            point.what.to_owned(),
            point.size.to_string(),
            format!("{:.2} {}", point.value, point.unit),
            growth.map_or_else(String::new, |growth| format!("{growth:.2}")),
            verdict.to_owned(),
        ]
    });
    output.table(["cost", "how many", "", "grows with power", ""], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_a_power_of_the_size() {
        let mut points = Points::default();
        points.add("a", 100, 1.0, "ms");
        points.add("b", 10, 5.0, "ms");
        points.add("a", 10_000, 100.0, "ms");
        points.add("b", 1_000, 5.0, "ms");
        let growth: Vec<_> = points.0.iter().map(|point| points.growth(point)).collect();
        assert_eq!(growth, [None, None, Some(1.0), Some(0.0)]);
        assert_eq!(points.svg().matches("<polyline").count(), 4);
    }
}
