//! Figures: lines over two axes, as SVG that needs nothing else, readable in light and dark. Knows numbers and names; never
//! what they mean.

mod axis;

use askama::Template;

pub use axis::{Axis, Scale, grouped};
use axis::{Mark, Ruler};

/// In units of the picture, which scales.
const WIDTH: f64 = 760.0;

/// The same on a phone, where letters must not become smaller.
const NARROW_WIDTH: f64 = 360.0;

/// Room for the title and the label of the vertical axis.
const TOP: f64 = 52.0;

/// Room for the numbers of the vertical axis.
const LEFT: f64 = 62.0;

/// Room for the numbers and the label of the horizontal axis.
const BOTTOM: f64 = 44.0;

/// Half a number that stands below the right end, or a short name, so that figures over one another have the same ends.
const RIGHT: f64 = 40.0;

/// From one number of the horizontal axis to the next.
const COLUMN_WIDTH: f64 = 66.0;

/// From one number of the vertical axis to the next.
const ROW_HEIGHT: f64 = 27.0;

/// A letter of a line's name, on the average; there are no font metrics here.
const LETTER: f64 = 7.5;

/// From one line's name to the next.
const NAME_HEIGHT: f64 = 15.0;

/// A line does not end at the very top.
const HEADROOM: f64 = 1.06;

/// How many lines have a colour of their own.
const COLOURS: usize = 6;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Its lines; their names stand at their ends if there are several.
    pub series: Vec<Series>,
    /// What stands there if there is no point.
    pub empty: String,
    /// Of the whole picture, which is 760 wide.
    pub height: f64,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is called.
    pub name: String,
    /// From left to right; `None` and what is no finite number interrupt it.
    pub points: Vec<(f64, Option<f64>)>,
}

impl Series {
    /// A line without a gap.
    pub fn unbroken(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.to_owned(), points: points.into_iter().map(|(x, y)| (x, Some(y))).collect() }
    }

    /// Its points that can be drawn, in pieces.
    fn runs(&self) -> impl Iterator<Item = Vec<(f64, f64)>> {
        let points = self.points.iter().map(|&(x, y)| y.filter(|y| x.is_finite() && y.is_finite()).map(|y| (x, y)));
        let points: Vec<Option<(f64, f64)>> = points.collect();
        let runs: Vec<_> = points.split(Option::is_none).map(|run| run.iter().flatten().copied().collect()).collect();
        runs.into_iter().filter(|run: &Vec<_>| !run.is_empty())
    }
}

impl Chart {
    /// The picture: an `<svg>` for a page, or for a file of its own.
    pub fn svg(&self) -> askama::Result<String> {
        self.drawing(WIDTH).render()
    }

    /// The same for a narrow page, with fewer numbers.
    pub fn narrow_svg(&self) -> askama::Result<String> {
        self.drawing(NARROW_WIDTH).render()
    }

    fn drawing(&self, width: f64) -> Drawing<'_> {
        let frame = Frame { left: LEFT, top: TOP, right: width - self.margin(), bottom: self.height - BOTTOM };
        let xs = self.series.iter().flat_map(|series| &series.points).map(|point| point.0);
        let ys = self.series.iter().flat_map(|series| &series.points).filter_map(|point| point.1);
        let across = Ruler::over(self.x.scale, xs, 1.0);
        let upwards = Ruler::over(self.y.scale, ys, HEADROOM);
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
        spread(&mut lines, &frame);
        Drawing {
            chart: self,
            columns: across
                .marks((frame.right - frame.left) / COLUMN_WIDTH)
                .into_iter()
                .map(|mark| mark.at(|place| frame.at(place, 0.0).0))
                .collect(),
            rows: upwards
                .marks((frame.bottom - frame.top) / ROW_HEIGHT)
                .into_iter()
                .map(|mark| mark.at(|place| frame.at(0.0, place).1))
                .collect(),
            is_named: self.series.len() > 1,
            is_filled: self.series.len() == 1 && self.y.scale == Scale::Linear,
            lines,
            frame,
            width,
        }
    }

    /// Room at the right, where the names of several lines stand.
    fn margin(&self) -> f64 {
        let longest = self.series.iter().map(|series| series.name.chars().count()).max().unwrap_or_default();
        if self.series.len() > 1 { RIGHT.max(longest as f64 * LETTER + 14.0) } else { RIGHT }
    }
}

/// The picture, measured.
#[derive(Template)]
#[template(path = "chart/chart.svg")]
struct Drawing<'a> {
    chart: &'a Chart,
    columns: Vec<Mark>,
    rows: Vec<Mark>,
    is_named: bool,
    is_filled: bool,
    lines: Vec<Line<'a>>,
    frame: Frame,
    width: f64,
}

/// Where the lines are drawn.
struct Frame {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Frame {
    /// A place, from 0 to 1 both ways, in the picture.
    fn at(&self, across: f64, upwards: f64) -> (f64, f64) {
        let x = self.left + across * (self.right - self.left);
        let y = self.bottom - upwards * (self.bottom - self.top);
        (axis::tenth(x), axis::tenth(y))
    }

    fn middle(&self) -> (f64, f64) {
        self.at(0.5, 0.5)
    }

    /// What lies below a line.
    fn below(&self, line: &Line) -> String {
        let closed = |run: &Vec<(f64, f64)>| match run.first() {
            Some((first, _)) => format!("{}V{}H{first}Z", outline(run), self.bottom),
            None => String::new(),
        };
        line.runs.iter().map(closed).collect()
    }
}

/// A line in the picture.
struct Line<'a> {
    name: &'a str,
    name_y: f64,
    colour: usize,
    runs: Vec<Vec<(f64, f64)>>,
}

impl<'a> Line<'a> {
    /// Nothing if it has no point.
    fn new(name: &'a str, index: usize, runs: Vec<Vec<(f64, f64)>>) -> Option<Self> {
        let &(_, name_y) = runs.last()?.last()?;
        Some(Self { name, name_y, colour: index % COLOURS, runs })
    }

    /// As SVG says it; a point without neighbours is a dot.
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

/// Moves names that would stand on each other apart.
fn spread(lines: &mut [Line], frame: &Frame) {
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
