//! From values to places on an axis and back to the numbers that stand at it. Never draws.

/// What an axis means.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it is, with its unit.
    pub label: String,
    /// How values lie on it.
    pub scale: Scale,
}

/// How values lie on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// Each tenfold as long as the next; 0 lies at the lower end.
    Logarithmic,
    /// Shares of all, from 0 to 1, each tenth of the rest as long as the one before: 0, 0.9, 0.99; 1 lies at the upper end.
    Percentile,
}

/// Wider than this, the largest over the smallest, and a linear scale shows nothing of the small ones.
const LINEAR_MAX: f64 = 40.0;

/// 1, 2 and 5 in each decade, which is more than thrice as wide as the step from 1 to 2.
const MARKS_PER_DECADE: f64 = 3.4;

/// Shares that are told apart: a millionth of a percent.
const NINES_MAX: f64 = 8.0;

impl Axis {
    /// An axis.
    pub fn new(label: impl Into<String>, scale: Scale) -> Self {
        Self { label: label.into(), scale }
    }
}

impl Scale {
    /// Linear, or logarithmic where small values would vanish beside large ones.
    pub fn fitting(values: impl IntoIterator<Item = f64>) -> Self {
        let (smallest, largest) = extremes(values);
        if largest > smallest * LINEAR_MAX { Self::Logarithmic } else { Self::Linear }
    }
}

/// The smallest above 0, and the largest.
fn extremes(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let values = values.into_iter().filter(|value| value.is_finite() && *value > 0.0);
    let (smallest, largest) =
        values.fold((f64::MAX, 0.0_f64), |(smallest, largest), value| (smallest.min(value), largest.max(value)));
    (smallest.min(largest), largest)
}

/// A number at an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    /// Where, from 0 to 1, then in the picture.
    pub(super) place: f64,
    /// What stands there.
    pub(super) label: String,
}

impl Mark {
    pub(super) fn at(self, placed: impl Fn(f64) -> f64) -> Self {
        Self { place: placed(self.place), ..self }
    }
}

/// An axis with its ends, both as the scale counts them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruler {
    scale: Scale,
    from: f64,
    to: f64,
}

impl Ruler {
    /// Long enough for all values, a linear one longer by this factor.
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
        // One value alone on a logarithmic axis has a decade around it.
        let to = if to > from { to } else { from + 1.0 };
        Self { scale, from, to }
    }

    /// Where a value lies, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let counted = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
            Scale::Percentile => nines(value),
        };
        ((counted - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    /// The numbers that stand at it, round ones, about so many at the most.
    pub(super) fn marks(&self, most: f64) -> Vec<Mark> {
        match self.scale {
            Scale::Linear => self.even(most),
            Scale::Logarithmic => self.decades(most),
            Scale::Percentile => self.percentiles(most),
        }
    }

    fn even(&self, most: f64) -> Vec<Mark> {
        let step = round_above(self.to / most);
        let places = (0..).map(|index| f64::from(index) * step).take_while(|value| *value <= self.to);
        let is_large = self.to >= 2e6;
        let (unit, suffix) = if is_large { (1e6, "\u{202f}M") } else { (1.0, "") };
        let decimals = (-(step / unit).log10().floor()).max(0.0) as usize;
        let label = |value: f64| format!("{}{suffix}", grouped(&format!("{:.decimals$}", value / unit)));
        places.map(|value| Mark { place: self.place(value), label: label(value) }).collect()
    }

    fn decades(&self, most: f64) -> Vec<Mark> {
        let is_dense = (self.to - self.from) * MARKS_PER_DECADE <= most;
        let steps: &[f64] = if is_dense { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let decades = (self.from.floor() as i32)..=(self.to.ceil() as i32);
        let values = decades.flat_map(|decade| steps.iter().map(move |step| (decade, step * 10_f64.powi(decade))));
        // Rounding may have moved an end by the last digit.
        let is_inside = |value: f64| (self.from - 1e-9..=self.to + 1e-9).contains(&value.log10());
        let label =
            |decade: i32, value: f64| grouped(&format!("{value:.*}", usize::try_from(-decade).unwrap_or_default()));
        let inside = values.filter(|(_, value)| is_inside(*value));
        inside.map(|(decade, value)| Mark { place: self.place(value), label: label(decade, value) }).collect()
    }

    fn percentiles(&self, most: f64) -> Vec<Mark> {
        /// With room for fewer numbers than this, those too near to the one before are left out.
        const CROWDED: f64 = 6.0;
        /// Of the room for one number.
        const APART: f64 = 0.8;
        let nines = (1..=NINES_MAX as i32).map(|digits| 1.0 - 10_f64.powi(-digits));
        let shares = [0.0, 0.5].into_iter().chain(nines).zip([0, 0, 0, 0, 1, 2, 3, 4, 5, 6]);
        let inside = shares.filter(|(share, _)| self::nines(*share) <= self.to + 1e-9);
        let label = |share: f64, decimals: usize| format!("{:.decimals$}\u{202f}%", share * 100.0);
        let mut marks: Vec<Mark> = Vec::new();
        for (share, decimals) in inside {
            let place = self.place(share);
            let is_near = marks.last().is_some_and(|last| place - last.place < APART / most);
            if most >= CROWDED || !is_near {
                marks.push(Mark { place, label: label(share, decimals) });
            }
        }
        marks
    }
}

/// How many nines a share has: 1 for 0.9, 2 for 0.99.
fn nines(share: f64) -> f64 {
    -(1.0 - share.clamp(0.0, 1.0)).log10()
}

/// The smallest of 1, 2, 5 times a power of ten that is not below.
fn round_above(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(10.0 * decade)
}

/// The largest of them that is not above.
fn round_below(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step <= value * (1.0 + 1e-9)).unwrap_or(decade)
}

/// Thousands apart, which no language reads as a fraction.
pub fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let digits = whole.len();
    let apart = |(index, digit): (usize, char)| {
        let is_start = index > 0 && digits > 4 && (digits - index) % 3 == 0;
        is_start.then_some('\u{202f}').into_iter().chain([digit])
    };
    whole.chars().enumerate().flat_map(apart).chain(fraction.chars()).collect()
}

/// More digits would only make the picture larger.
pub(super) fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
