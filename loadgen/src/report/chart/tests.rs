//! Charts read as text.

use super::*;

fn chart(x: Scale, y: Scale, series: Vec<Series>) -> Chart {
    let (x, y) = (Axis::new("clients", x), Axis::new("milliseconds", y));
    Chart { title: "A & B".to_owned(), x, y, series, empty: "nothing".to_owned(), height: 200.0 }
}

fn linear(points: Vec<(f64, Option<f64>)>) -> Chart {
    let series = vec![Series { name: "one".to_owned(), points }];
    chart(Scale::Linear, Scale::Linear, series)
}

#[test]
fn a_narrow_chart_has_fewer_numbers_and_none_upon_another() {
    let points: Vec<(f64, Option<f64>)> = (0..6).map(|nines| (1.0 - 0.1_f64.powi(nines), Some(1.0))).collect();
    let chart = chart(Scale::Percentile, Scale::Linear, vec![Series { name: "one".to_owned(), points }]);
    let numbers = |width| chart.layout(width).columns.iter().map(|tick| tick.place).collect::<Vec<_>>();
    assert_eq!((numbers(WIDTH).len(), numbers(NARROW_WIDTH).len()), (7, 3));
    assert!(numbers(NARROW_WIDTH).windows(2).all(|pair| pair[1] - pair[0] > 40.0));
}

fn paths(svg: &str) -> Vec<&str> {
    let lines = svg.split(r#"<g class="line "#).skip(1).flat_map(|line| line.split(r#"<path d=""#).nth(1));
    lines.filter_map(|path| path.split('"').next()).collect()
}

/// The labels of the horizontal axis from the left, and of the vertical axis from below.
fn labels(chart: &Chart) -> (Vec<String>, Vec<String>) {
    let Layout { columns, rows, .. } = chart.layout(WIDTH);
    let labels = |ticks: Vec<Tick>| ticks.into_iter().map(|tick| tick.label).collect();
    (labels(columns), labels(rows))
}

#[test]
fn a_figure_names_its_title_its_axes_and_its_lines() {
    let lines = ["a < b", "c"].map(|name| Series::unbroken(name, [(0.0, 1.0), (1.0, 2.0)]));
    let svg = chart(Scale::Linear, Scale::Linear, lines.into()).svg().unwrap();
    for part in
        ["<title>A &#38; B</title>", ">clients</text>", ">milliseconds</text>", ">a &#60; b</text>", ">c</text>"]
    {
        assert!(svg.contains(part), "{part} is not in {svg}");
    }
    assert_eq!(paths(&svg).len(), 2);
}

#[test]
fn a_linear_line_runs_from_corner_to_corner() {
    let svg = linear(vec![(0.0, Some(0.0)), (10.0, Some(100.0 / HEADROOM)), (20.0, Some(100.0))]).svg().unwrap();
    let middle = TOP + (200.0 - BOTTOM - TOP) * (1.0 - 1.0 / HEADROOM / HEADROOM);
    let top = TOP + (200.0 - BOTTOM - TOP) * (1.0 - 1.0 / HEADROOM);
    let (centre, right, bottom) = ((LEFT + WIDTH - RIGHT) / 2.0, WIDTH - RIGHT, 200.0 - BOTTOM);
    assert_eq!(paths(&svg), [format!("M{LEFT} {bottom}h0L{centre} {middle:.1}L{right} {top:.1}")]);
}

#[test]
fn what_is_missing_or_no_number_interrupts_a_line() {
    let points = [Some(1.0), None, Some(2.0), Some(f64::NAN), Some(3.0), Some(f64::INFINITY)];
    let svg = linear((0..).map(f64::from).zip(points).collect()).svg().unwrap();
    let path = paths(&svg)[0];
    assert_eq!((path.matches('M').count(), path.matches('L').count()), (3, 0), "{path}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn without_a_point_a_figure_says_so() {
    for points in [vec![], vec![(1.0, None)], vec![(f64::NAN, Some(1.0))]] {
        for scale in [Scale::Linear, Scale::Logarithmic, Scale::Percentile] {
            let series = vec![Series { name: "one".to_owned(), points: points.clone() }];
            let svg = chart(scale, scale, series).svg().unwrap();
            assert!(svg.contains(">nothing</text>") && paths(&svg).is_empty(), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}

#[test]
fn a_lonely_point_and_nothing_but_zero_have_finite_places() {
    for scale in [Scale::Linear, Scale::Logarithmic, Scale::Percentile] {
        for value in [0.0, 1e-9, 0.5, 1.0, 1e12] {
            let svg = chart(scale, scale, vec![Series::unbroken("one", [(value, value)])]).svg().unwrap();
            assert_eq!(paths(&svg).len(), 1);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{scale:?} {value} {svg}");
        }
    }
}

#[test]
fn numbers_at_the_axes_are_round() {
    let of = |x, y, points: [(f64, f64); 2]| labels(&chart(x, y, vec![Series::unbroken("one", points)]));
    let (columns, rows) = of(Scale::Linear, Scale::Linear, [(0.0, 0.0), (30.0, 31_000.0)]);
    assert_eq!(columns, ["0", "5", "10", "15", "20", "25", "30"]);
    assert_eq!(rows, ["0", "10\u{202f}000", "20\u{202f}000", "30\u{202f}000"]);
    let (columns, rows) = of(Scale::Percentile, Scale::Logarithmic, [(0.0, 0.03), (0.9995, 4.5)]);
    assert_eq!(columns, ["0\u{202f}%", "50\u{202f}%", "90\u{202f}%", "99\u{202f}%", "99.9\u{202f}%"]);
    assert_eq!(rows, ["0.1", "1"]);
    let (columns, rows) = of(Scale::Logarithmic, Scale::Linear, [(10.0, 0.0), (50_000.0, 5.3e6)]);
    assert_eq!(columns, ["10", "100", "1000", "10\u{202f}000"]);
    assert_eq!(rows, ["0.0\u{202f}M", "2.0\u{202f}M", "4.0\u{202f}M"].map(|label| label.replace(".0", "")));
}

#[test]
fn each_nine_is_as_long_as_the_one_before() {
    let range = AxisRange::over(Scale::Percentile, [0.999].into_iter(), 1.0);
    let places = [0.0, 0.9, 0.99, 0.999, 1.0].map(|share| axis::tenth(range.place(share) * 3.0));
    assert_eq!(places, [0.0, 1.0, 2.0, 3.0, 3.0]);
}

#[test]
fn names_of_lines_that_end_together_stand_apart() {
    let lines = ["a", "b", "c"].map(|name| Series::unbroken(name, [(0.0, 1.0), (1.0, 1.0)]));
    let chart = chart(Scale::Linear, Scale::Linear, lines.into());
    let mut heights: Vec<f64> = chart.layout(WIDTH).lines.iter().map(|line| line.name_y).collect();
    heights.sort_by(f64::total_cmp);
    assert!(heights.windows(2).all(|pair| pair[1] - pair[0] >= NAME_HEIGHT), "{heights:?}");
}

#[test]
fn a_scale_is_logarithmic_only_where_small_values_would_vanish() {
    assert_eq!(Scale::fitting([0.0, 5.0, 100.0, f64::NAN]), Scale::Linear);
    assert_eq!(Scale::fitting([1.0, 100.0]), Scale::Logarithmic);
    assert_eq!(Scale::fitting([]), Scale::Linear);
}
