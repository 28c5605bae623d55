//! A logarithmic axis.

/// So much of the axis is left free at each end.
const MARGIN: f64 = 0.06;
/// A scale of fewer decades gets ticks between its powers of ten.
const FEW_DECADES: f64 = 2.0;

/// What an axis counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    Number,
    Seconds,
    Mebibytes,
}

impl Unit {
    /// The label of a tick, which is a round number.
    pub(super) fn label(self, tick: f64) -> String {
        match self {
            Self::Number => with_commas(tick),
            Self::Mebibytes => format!("{} MiB", with_commas(tick)),
            Self::Seconds if tick < 0.000_999 => format!("{:.0} µs", tick * 1e6),
            Self::Seconds if tick < 0.999 => format!("{:.0} ms", tick * 1e3),
            Self::Seconds => format!("{} s", with_commas(tick)),
        }
    }
}

fn with_commas(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Places positive values between two ends of a picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    /// Logarithms.
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis on which all these values have a place; none without a value.
    pub(super) fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0) {
            low = low.min(value.log10());
            high = high.max(value.log10());
        }
        // A single value is in the middle.
        let margin = ((high - low) * MARGIN).max(0.1);
        (low <= high).then_some(Self {
            low: low - margin,
            high: high + margin,
            from,
            to,
        })
    }

    pub(super) fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round numbers on the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let factors: &[f64] = if self.high - self.low < FEW_DECADES {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let mut ticks = Vec::new();
        let mut power = self.low.floor();
        while power <= self.high {
            let round = factors.iter().map(|factor| factor * 10_f64.powf(power));
            ticks.extend(round.filter(|tick| (self.low..=self.high).contains(&tick.log10())));
            power += 1.0;
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_place_and_ticks_are_round() {
        let axis = Axis::over([0.1, 10.0].into_iter(), 0.0, 112.0).unwrap();
        assert!((axis.place(1.0) - 56.0).abs() < 1e-9);
        assert!((axis.place(0.1) - 6.0).abs() < 1e-9);
        assert_eq!(
            axis.ticks()
                .iter()
                .map(|tick| Unit::Seconds.label(*tick))
                .collect::<Vec<_>>(),
            ["100 ms", "1 s", "10 s"]
        );

        let narrow = Axis::over([45.0, 210.0].into_iter(), 0.0, 100.0).unwrap();
        let labels: Vec<_> = narrow.ticks().iter().map(|tick| Unit::Mebibytes.label(*tick)).collect();
        assert_eq!(labels, ["50 MiB", "100 MiB", "200 MiB"]);
        assert!(Axis::over(std::iter::empty(), 0.0, 1.0).is_none());
        assert!((Axis::over([5.0].into_iter(), 0.0, 100.0).unwrap().place(5.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn labels_have_units_and_commas() {
        assert_eq!(Unit::Number.label(10_000.0), "10,000");
        assert_eq!(Unit::Number.label(100.0), "100");
        assert_eq!(Unit::Number.label(1_234_567.0), "1,234,567");
        assert_eq!(Unit::Seconds.label(0.0001), "100 µs");
        assert_eq!(Unit::Seconds.label(0.001), "1 ms");
        assert_eq!(Unit::Seconds.label(1000.0), "1,000 s");
    }
}
