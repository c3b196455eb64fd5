//! Lines over two logarithmic axes, as an SVG. A chart of this one kind is less to carry than a plotting library.

use std::fmt::Write as _;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 60.0;
/// Told apart also by those who see fewer colours (Okabe and Ito), each once solid and once dashed.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// A chart.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

/// A logarithmic axis.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    /// How a power of ten is written.
    pub(super) tick: fn(f64) -> String,
}

/// Points from left to right; all values are above zero.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// From values to places, a whole number of decades wide.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    first: i32,
    last: i32,
    from: f64,
    to: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logs = values.map(f64::log10).filter(|log| log.is_finite());
        let (least, most) = logs
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), log| (least.min(log), most.max(log)));
        if least > most {
            return Self { first: 0, last: 1, from, to };
        }
        let first = (least + 1e-9).floor() as i32;
        Self { first, last: ((most - 1e-9).ceil() as i32).max(first + 1), from, to }
    }

    fn place(self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        self.from + share * (self.to - self.from)
    }

    fn ticks(self) -> impl Iterator<Item = f64> {
        (self.first..=self.last).map(|power| 10_f64.powi(power))
    }
}

impl Plot {
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Scale::over(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Scale::over(points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#333\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
        );
        text(&mut svg, (LEFT, 28.0), "start", "font-size=\"16\" font-weight=\"600\"", &self.title);
        self.grid(&mut svg, x, y);
        for (number, line) in self.lines.iter().enumerate() {
            draw(&mut svg, line, number, x, y);
        }
        svg + "</svg>\n"
    }

    fn grid(&self, svg: &mut String, x: Scale, y: Scale) {
        let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
        for tick in x.ticks() {
            let at = x.place(tick);
            rule(svg, (at, top), (at, bottom));
            text(svg, (at, bottom + 20.0), "middle", "", &(self.x.tick)(tick));
        }
        for tick in y.ticks() {
            let at = y.place(tick);
            rule(svg, (left, at), (right, at));
            text(svg, (left - 8.0, at + 4.0), "end", "", &(self.y.tick)(tick));
        }
        text(svg, (f64::midpoint(left, right), HEIGHT - 14.0), "middle", "", self.x.label);
        text(svg, (LEFT, TOP - 10.0), "end", "", self.y.label);
    }
}

/// A line, and its place in the legend.
fn draw(svg: &mut String, line: &Line, number: usize, x: Scale, y: Scale) {
    let colour = COLOURS[number % COLOURS.len()];
    let dashes = if number < COLOURS.len() { "" } else { " stroke-dasharray=\"6 4\"" };
    let stroke = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}");
    let points: Vec<_> =
        line.points.iter().map(|(a, b)| format!("{:.1},{:.1}", x.place(*a), y.place(*b))).collect();
    let (at, height) = (WIDTH - RIGHT + 20.0, TOP + 10.0 + 22.0 * number as f64);
    // Writing to a String cannot fail.
    let _ = writeln!(svg, "<polyline points=\"{}\" {stroke}/>", points.join(" "));
    if let [(a, b)] = line.points[..] {
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
            x.place(a),
            y.place(b)
        );
    }
    let _ = writeln!(svg, "<polyline points=\"{at},{height} {},{height}\" {stroke}/>", at + 26.0);
    text(svg, (at + 34.0, height + 4.0), "start", "", &line.name);
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, style: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" {style}>{text}</text>",
        at.0, at.1
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_whole_decades_around_its_values() {
        let scale = Scale::over([20.0, 900.0].into_iter(), 0.0, 200.0);
        assert_eq!(scale, Scale { first: 1, last: 3, from: 0.0, to: 200.0 });
        assert_eq!((scale.place(10.0), scale.place(100.0), scale.place(1_000.0)), (0.0, 100.0, 200.0));
        let exact = Scale::over([10.0, 100.0].into_iter(), 0.0, 1.0);
        assert_eq!((exact.first, exact.last), (1, 2));
        let nothing = Scale::over(std::iter::empty(), 0.0, 1.0);
        assert_eq!(nothing.ticks().collect::<Vec<_>>(), [1.0, 10.0]);
    }

    #[test]
    fn every_line_is_drawn_and_named() {
        let tick = |value: f64| format!("{value}");
        let line = |name: &str| Line { name: name.into(), points: vec![(1.0, 10.0), (10.0, 90.0)] };
        let plot = Plot {
            title: "a < b & c".into(),
            x: Axis { label: "size", tick },
            y: Axis { label: "us", tick },
            lines: vec![line("one"), line("two")],
        };
        let svg = plot.svg();
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert!(svg.contains(">two</text>") && svg.contains("a &lt; b &amp; c") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
