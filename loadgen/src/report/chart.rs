//! Line charts as SVG, readable in light and dark and without any other file. Knows numbers and names, never their
//! meaning.
//!
//! A report page stands alone and follows the reader's colour scheme, which is why it is drawn here: `scripts/figures`
//! needs Python, `plotters` writes fixed colours into every element, and `poloto` takes CSS but has neither a logarithmic
//! nor a percentile scale.

mod axis;

use askama::Template;

pub use axis::{Axis, Scale, grouped};
use axis::{AxisRange, Tick};

/// Width of a chart in its own units; it scales to the page.
const WIDTH: f64 = 760.0;

/// Width on a phone, where text must not become smaller.
const NARROW_WIDTH: f64 = 360.0;

/// Space for the title and the label of the vertical axis.
const TOP: f64 = 52.0;

/// Space for the numbers of the vertical axis.
const LEFT: f64 = 62.0;

/// Space for the numbers and the label of the horizontal axis.
const BOTTOM: f64 = 44.0;

/// Minimum space at the right, so that charts above each other end at the same place.
const RIGHT: f64 = 40.0;

/// Minimum distance between two numbers of the horizontal axis.
const COLUMN_WIDTH: f64 = 66.0;

/// Minimum distance between two numbers of the vertical axis.
const ROW_HEIGHT: f64 = 27.0;

/// Average width of a letter in a line's name; there are no font metrics here.
const LETTER: f64 = 7.5;

/// Minimum distance between two line names.
const NAME_HEIGHT: f64 = 15.0;

/// Factor by which the vertical axis exceeds the largest value.
const HEADROOM: f64 = 1.06;

/// Number of lines with a colour of their own.
const COLOURS: usize = 6;

/// A chart to draw.
#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines. Their names are drawn at their ends if there are several.
    pub series: Vec<Series>,
    /// The text of a chart without points.
    pub empty: String,
    /// Height of the whole chart, in units of [`WIDTH`].
    pub height: f64,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    /// Points from left to right. A missing or non-finite value interrupts the line.
    pub points: Vec<(f64, Option<f64>)>,
}

impl Series {
    /// A line without gaps.
    pub fn unbroken(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.to_owned(), points: points.into_iter().map(|(x, y)| (x, Some(y))).collect() }
    }

    /// The uninterrupted pieces of the line.
    fn runs(&self) -> impl Iterator<Item = Vec<(f64, f64)>> {
        let points = self.points.iter().map(|&(x, y)| y.filter(|y| x.is_finite() && y.is_finite()).map(|y| (x, y)));
        let points: Vec<Option<(f64, f64)>> = points.collect();
        let runs: Vec<_> = points.split(Option::is_none).map(|run| run.iter().flatten().copied().collect()).collect();
        runs.into_iter().filter(|run: &Vec<_>| !run.is_empty())
    }
}

impl Chart {
    /// The `<svg>` element.
    pub fn svg(&self) -> askama::Result<String> {
        self.layout(WIDTH).render()
    }

    /// The `<svg>` element for a narrow page, with fewer numbers.
    pub fn narrow_svg(&self) -> askama::Result<String> {
        self.layout(NARROW_WIDTH).render()
    }

    fn layout(&self, width: f64) -> Layout<'_> {
        let frame = Frame { left: LEFT, top: TOP, right: width - self.margin(), bottom: self.height - BOTTOM };
        let xs = self.series.iter().flat_map(|series| &series.points).map(|point| point.0);
        let ys = self.series.iter().flat_map(|series| &series.points).filter_map(|point| point.1);
        let across = AxisRange::over(self.x.scale, xs, 1.0);
        let upwards = AxisRange::over(self.y.scale, ys, HEADROOM);
        let mut lines: Vec<Line> = self
            .series
            .iter()
            .enumerate()
            .filter_map(|(index, series)| {
                let runs = series
                    .runs()
                    .map(|run| run.into_iter().map(|(x, y)| frame.at(across.place(x), upwards.place(y))).collect());
                Line::new(&series.name, index, runs.collect())
            })
            .collect();
        separate_labels(&mut lines, &frame);
        Layout {
            chart: self,
            columns: across
                .ticks((frame.right - frame.left) / COLUMN_WIDTH)
                .into_iter()
                .map(|tick| tick.at(|place| frame.at(place, 0.0).0))
                .collect(),
            rows: upwards
                .ticks((frame.bottom - frame.top) / ROW_HEIGHT)
                .into_iter()
                .map(|tick| tick.at(|place| frame.at(0.0, place).1))
                .collect(),
            is_named: self.series.len() > 1,
            is_filled: self.series.len() == 1 && self.y.scale == Scale::Linear,
            lines,
            frame,
            width,
        }
    }

    /// Space at the right, where the names of several lines are drawn.
    fn margin(&self) -> f64 {
        let longest = self.series.iter().map(|series| series.name.chars().count()).max().unwrap_or_default();
        if self.series.len() > 1 { RIGHT.max(longest as f64 * LETTER + 14.0) } else { RIGHT }
    }
}

/// A chart with all its positions computed.
#[derive(Template)]
#[template(path = "chart/chart.svg")]
struct Layout<'a> {
    chart: &'a Chart,
    columns: Vec<Tick>,
    rows: Vec<Tick>,
    is_named: bool,
    is_filled: bool,
    lines: Vec<Line<'a>>,
    frame: Frame,
    width: f64,
}

/// The area in which lines are drawn.
struct Frame {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Frame {
    /// The position of a point given as fractions from 0 to 1.
    fn at(&self, across: f64, upwards: f64) -> (f64, f64) {
        let x = self.left + across * (self.right - self.left);
        let y = self.bottom - upwards * (self.bottom - self.top);
        (axis::tenth(x), axis::tenth(y))
    }

    fn middle(&self) -> (f64, f64) {
        self.at(0.5, 0.5)
    }

    /// The outline of the area below a line.
    fn below(&self, line: &Line) -> String {
        let closed = |run: &Vec<(f64, f64)>| match run.first() {
            Some((first, _)) => format!("{}V{}H{first}Z", outline(run), self.bottom),
            None => String::new(),
        };
        line.runs.iter().map(closed).collect()
    }
}

/// A line with its positions computed.
struct Line<'a> {
    name: &'a str,
    name_y: f64,
    colour: usize,
    runs: Vec<Vec<(f64, f64)>>,
}

impl<'a> Line<'a> {
    /// Returns `None` if the line has no point.
    fn new(name: &'a str, index: usize, runs: Vec<Vec<(f64, f64)>>) -> Option<Self> {
        let &(_, name_y) = runs.last()?.last()?;
        Some(Self { name, name_y, colour: index % COLOURS, runs })
    }

    /// The path data. A point without neighbours is drawn as a dot.
    fn path(&self) -> String {
        self.runs.iter().map(|run| outline(run)).collect()
    }
}

fn outline(run: &[(f64, f64)]) -> String {
    let step = |(index, (x, y)): (usize, &(f64, f64))| match index {
        0 => format!("M{x} {y}h0"),
        _ => format!("L{x} {y}"),
    };
    run.iter().enumerate().map(step).collect()
}

/// Moves line names apart that would overlap.
fn separate_labels(lines: &mut [Line], frame: &Frame) {
    let mut by_height: Vec<&mut Line> = lines.iter_mut().collect();
    by_height.sort_by(|one, other| one.name_y.total_cmp(&other.name_y));
    let mut free = frame.top;
    for line in &mut by_height {
        line.name_y = line.name_y.max(free);
        free = line.name_y + NAME_HEIGHT;
    }
    let mut free = frame.bottom;
    for line in by_height.iter_mut().rev() {
        line.name_y = line.name_y.min(free);
        free = line.name_y - NAME_HEIGHT;
    }
}

#[cfg(test)]
mod tests;
