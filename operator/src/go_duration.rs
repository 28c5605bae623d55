//! Durations as Go writes them, since kube-proxy's flags take them that way.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A duration of a flag: `24h0m0s`, `1h`, `1.5s`, `300ms`, `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct GoDuration(pub Duration);

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no duration: write it like 30s, 1h or 24h0m0s")]
pub struct NoDuration {
    text: String,
}

impl FromStr for GoDuration {
    type Err = NoDuration;

    fn from_str(text: &str) -> Result<Self, NoDuration> {
        parse(text)
            .map(Self)
            .ok_or_else(|| NoDuration { text: text.to_owned() })
    }
}

/// `None` for what is malformed, negative, or longer than a `Duration` of nanoseconds in 64 bits.
fn parse(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut nanoseconds: u64 = 0;
    while !rest.is_empty() {
        let number_length = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_length);
        let unit_length = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        nanoseconds = nanoseconds.checked_add(part(number, unit_nanoseconds(unit)?)?)?;
        rest = after;
    }
    Some(Duration::from_nanos(nanoseconds))
}

fn unit_nanoseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

/// One number with one unit. The fraction is exact; what is finer than a nanosecond is cut, as Go does.
fn part(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?
    };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        total = total.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(total)
}

impl fmt::Display for GoDuration {
    /// As Go prints it: `24h0m0s`, `1m30s`, `1.5s`, `300ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let nanoseconds = self.0.subsec_nanos();
        if seconds == 0 {
            return match nanoseconds {
                0 => f.write_str("0s"),
                1..1_000 => write!(f, "{nanoseconds}ns"),
                1_000..1_000_000 => write!(f, "{}µs", Decimal(u64::from(nanoseconds), 1_000)),
                _ => write!(f, "{}ms", Decimal(u64::from(nanoseconds), 1_000_000)),
            };
        }
        if seconds >= 3_600 {
            write!(f, "{}h", seconds / 3_600)?;
        }
        if seconds >= 60 {
            write!(f, "{}m", seconds / 60 % 60)?;
        }
        write!(
            f,
            "{}s",
            Decimal(seconds % 60 * 1_000_000_000 + u64::from(nanoseconds), 1_000_000_000)
        )
    }
}

/// A number divided by a power of ten, without zeros at its end.
struct Decimal(u64, u64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value, divisor) = *self;
        write!(f, "{}", value / divisor)?;
        let remainder = value % divisor;
        if remainder != 0 {
            let width = divisor.ilog10() as usize;
            write!(f, ".{}", format!("{remainder:0width$}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_prints_is_read_back() {
        for (text, duration) in [
            ("0s", Duration::ZERO),
            ("24h0m0s", Duration::from_hours(24)),
            ("1h0m0s", Duration::from_hours(1)),
            ("1m30s", Duration::from_secs(90)),
            ("1.5s", Duration::from_millis(1_500)),
            ("300ms", Duration::from_millis(300)),
            ("1.0005ms", Duration::from_nanos(1_000_500)),
            ("250µs", Duration::from_micros(250)),
            ("7ns", Duration::from_nanos(7)),
        ] {
            assert_eq!(text.parse(), Ok(GoDuration(duration)), "{text}");
            assert_eq!(GoDuration(duration).to_string(), text);
        }
    }

    #[test]
    fn other_spellings_are_read() {
        for (text, duration) in [
            ("0", Duration::ZERO),
            ("+5m", Duration::from_mins(5)),
            ("90m", Duration::from_mins(90)),
            (".5h", Duration::from_mins(30)),
            ("2.s", Duration::from_secs(2)),
            ("1us", Duration::from_micros(1)),
        ] {
            assert_eq!(text.parse(), Ok(GoDuration(duration)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            ".s",
            "1.2.3s",
            "-1s",
            "1d",
            "1 s",
            "1h1",
            "99999999999h",
            "１s",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }
}
