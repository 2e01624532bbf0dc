//! Axes: from values to positions, and the ticks with their labels. Never draws.

/// An axis: its label and its scale.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The quantity with its unit.
    pub label: String,
    pub scale: Scale,
}

/// How values are mapped to positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Proportional, from 0.
    Linear,
    /// Equal distance per decade; 0 lies at the lower end.
    Logarithmic,
    /// Fractions from 0 to 1 with equal distance from 0 to 0.9, to 0.99 and so on; 1 lies at the upper end.
    Percentile,
}

/// Ratio of the largest to the smallest value beyond which a linear scale hides the small ones.
const LINEAR_MAX: f64 = 40.0;

/// Ticks per decade when 1, 2 and 5 are labelled; more than 3 because their distances differ.
const TICKS_PER_DECADE: f64 = 3.4;

/// Upper limit of the percentile scale: eight nines.
const NINES_MAX: f64 = 8.0;

impl Axis {
    pub fn new(label: impl Into<String>, scale: Scale) -> Self {
        Self { label: label.into(), scale }
    }
}

impl Scale {
    /// Linear, or logarithmic where a linear scale would hide small values.
    pub fn fitting(values: impl IntoIterator<Item = f64>) -> Self {
        let (smallest, largest) = extremes(values);
        if largest > smallest * LINEAR_MAX { Self::Logarithmic } else { Self::Linear }
    }
}

/// The smallest positive value and the largest one.
fn extremes(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let values = values.into_iter().filter(|value| value.is_finite() && *value > 0.0);
    let (smallest, largest) =
        values.fold((f64::MAX, 0.0_f64), |(smallest, largest), value| (smallest.min(value), largest.max(value)));
    (smallest.min(largest), largest)
}

/// A labelled position on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// Position as a fraction from 0 to 1, then in units of the chart.
    pub(super) place: f64,
    pub(super) label: String,
}

impl Tick {
    pub(super) fn at(self, placed: impl Fn(f64) -> f64) -> Self {
        Self { place: placed(self.place), ..self }
    }
}

/// The range of an axis, both ends in units of its scale.
#[derive(Clone, Copy, Debug)]
pub(super) struct AxisRange {
    scale: Scale,
    from: f64,
    to: f64,
}

impl AxisRange {
    /// A range that covers all values; a linear one is extended by the factor `headroom`.
    pub(super) fn over(scale: Scale, values: impl Iterator<Item = f64>, headroom: f64) -> Self {
        let (smallest, largest) = match scale {
            Scale::Percentile => extremes(values.map(nines).filter(|nines| *nines < NINES_MAX)),
            _ => extremes(values),
        };
        let (from, to) = match scale {
            _ if largest == 0.0 => (0.0, 1.0),
            Scale::Linear => (0.0, largest * headroom),
            Scale::Percentile => (0.0, largest),
            Scale::Logarithmic => (round_below(smallest).log10(), round_above(largest).log10()),
        };
        // A single value on a logarithmic axis gets a decade around it.
        let to = if to > from { to } else { from + 1.0 };
        Self { scale, from, to }
    }

    /// Position of a value as a fraction from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let counted = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
            Scale::Percentile => nines(value),
        };
        ((counted - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    /// Round numbers on the axis, about `most` at most.
    pub(super) fn ticks(&self, most: f64) -> Vec<Tick> {
        match self.scale {
            Scale::Linear => self.even(most),
            Scale::Logarithmic => self.decades(most),
            Scale::Percentile => self.percentiles(most),
        }
    }

    fn even(&self, most: f64) -> Vec<Tick> {
        let step = round_above(self.to / most);
        let places = (0..).map(|index| f64::from(index) * step).take_while(|value| *value <= self.to);
        let is_large = self.to >= 2e6;
        let (unit, suffix) = if is_large { (1e6, "\u{202f}M") } else { (1.0, "") };
        let decimals = (-(step / unit).log10().floor()).max(0.0) as usize;
        let label = |value: f64| format!("{}{suffix}", grouped(&format!("{:.decimals$}", value / unit)));
        places.map(|value| Tick { place: self.place(value), label: label(value) }).collect()
    }

    fn decades(&self, most: f64) -> Vec<Tick> {
        let is_dense = (self.to - self.from) * TICKS_PER_DECADE <= most;
        let steps: &[f64] = if is_dense { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let decades = (self.from.floor() as i32)..=(self.to.ceil() as i32);
        let values = decades.flat_map(|decade| steps.iter().map(move |step| (decade, step * 10_f64.powi(decade))));
        // Allows for rounding errors at both ends.
        let is_inside = |value: f64| (self.from - 1e-9..=self.to + 1e-9).contains(&value.log10());
        let label =
            |decade: i32, value: f64| grouped(&format!("{value:.*}", usize::try_from(-decade).unwrap_or_default()));
        let inside = values.filter(|(_, value)| is_inside(*value));
        inside.map(|(decade, value)| Tick { place: self.place(value), label: label(decade, value) }).collect()
    }

    fn percentiles(&self, most: f64) -> Vec<Tick> {
        /// With less space than this many labels need, labels that are too close to the previous one are skipped.
        const CROWDED: f64 = 6.0;
        /// Minimum distance as a fraction of a label's space.
        const APART: f64 = 0.8;
        let nines = (1..=NINES_MAX as i32).map(|digits| 1.0 - 10_f64.powi(-digits));
        let shares = [0.0, 0.5].into_iter().chain(nines).zip([0, 0, 0, 0, 1, 2, 3, 4, 5, 6]);
        let inside = shares.filter(|(share, _)| self::nines(*share) <= self.to + 1e-9);
        let label = |share: f64, decimals: usize| format!("{:.decimals$}\u{202f}%", share * 100.0);
        let mut ticks: Vec<Tick> = Vec::new();
        for (share, decimals) in inside {
            let place = self.place(share);
            let is_near = ticks.last().is_some_and(|last| place - last.place < APART / most);
            if most >= CROWDED || !is_near {
                ticks.push(Tick { place, label: label(share, decimals) });
            }
        }
        ticks
    }
}

/// Number of nines of a fraction: 1 for 0.9, 2 for 0.99.
fn nines(share: f64) -> f64 {
    -(1.0 - share.clamp(0.0, 1.0)).log10()
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below the value.
fn round_above(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(10.0 * decade)
}

/// The largest of 1, 2 and 5 times a power of ten that is not above the value.
fn round_below(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step <= value * (1.0 + 1e-9)).unwrap_or(decade)
}

/// Groups thousands with a narrow space, which no language reads as a decimal point.
pub fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let digits = whole.len();
    let apart = |(index, digit): (usize, char)| {
        let is_start = index > 0 && digits > 4 && (digits - index) % 3 == 0;
        is_start.then_some('\u{202f}').into_iter().chain([digit])
    };
    whole.chars().enumerate().flat_map(apart).chain(fraction.chars()).collect()
}

/// Rounds to one decimal; more would only make the file larger.
pub(super) fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
