//! The scenario for people.

use std::fmt::Write as _;
use std::time::Duration;

use fairlead_lab::outage::Attempt;

use super::{Cut, EVERY, Moved, Strip};
use crate::terminal::{Screen, Style};

/// How much is shown before the power goes, and after the client is served again.
const BEFORE: Duration = Duration::from_millis(80);
const AFTER: Duration = Duration::from_millis(120);
/// One character of the strip is one of these, the shortest that fits.
const CELLS: [u64; 8] = [5, 10, 15, 25, 50, 100, 200, 500];
/// What is written beside the strip.
const BESIDE: usize = 18;
const SERVED: &str = "━";
const LOST: &str = "·";

/// What is about to happen.
pub(super) fn title(service: &str, screen: Screen) -> String {
    let service = service.strip_prefix("default/").unwrap_or(service);
    let more = format!(
        "a client opens a connection to each address of {service} every {} ms",
        EVERY.as_millis()
    );
    screen.title("POWER-OFF", &more)
}

/// What the client saw, and why.
pub(super) fn cut(node: &str, addresses: &[Moved], screen: Screen) -> String {
    let paint = screen.paint;
    let label = addresses
        .iter()
        .map(|moved| moved.address.to_string().len())
        .max()
        .unwrap_or(0);
    let longest = addresses.iter().map(|moved| moved.lost_millis).fold(0.0, f64::max);
    let shown = BEFORE + Duration::from_secs_f64(longest / 1000.0) + AFTER;
    let room = screen.width.saturating_sub(label + BESIDE).max(10);
    let cell = cell(shown, room);
    let mut text = "\n".to_owned();
    for moved in addresses {
        let strip = painted(&strip(&moved.strip, shown, cell), screen);
        let lost = match moved.lost_connections {
            0 => "nothing lost".to_owned(),
            _ => format!("{:.0} ms lost", moved.lost_millis),
        };
        let lost = paint.paint(Style::Strong, &lost);
        let _ = writeln!(text, "{:label$}  {strip}  {lost}", moved.address);
    }
    text += &axis(node, addresses, label, cell, screen);
    for moved in addresses.iter().filter(|moved| moved.before == node) {
        let mark = if moved.is_served() {
            paint.paint(Style::Good, "✓")
        } else {
            paint.paint(Style::Bad, "✗")
        };
        let reason = moved
            .reason
            .as_ref()
            .map(|reason| format!(" ({reason})"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "{mark} {} answers for {}: {}{}; {} connections were lost",
            paint.paint(Style::Strong, &moved.after),
            moved.address,
            moved.why.replace("the owner", node),
            paint.paint(Style::Faint, &reason),
            moved.lost_connections
        );
    }
    text
}

/// Equal neighbours get their colour together.
fn painted(cells: &[bool], screen: Screen) -> String {
    let runs = cells.chunk_by(|one, other| one == other);
    let run = |run: &[bool]| {
        if run[0] {
            screen.paint.paint(Style::Good, &SERVED.repeat(run.len()))
        } else {
            screen.paint.paint(Style::Bad, &LOST.repeat(run.len()))
        }
    };
    runs.map(run).collect()
}

/// What its return cost.
pub(super) fn back(cut: &Cut, screen: Screen) -> String {
    let lost = match cut.lost_at_return {
        0 => "no connection was lost".to_owned(),
        1 => "1 connection was lost".to_owned(),
        lost => format!("{lost} connections were lost"),
    };
    let stayed = if cut.have_stayed {
        "the addresses stay where they are"
    } else {
        "the addresses have moved"
    };
    let (style, mark) = if cut.lost_at_return == 0 {
        (Style::Good, "✓")
    } else {
        (Style::Bad, "✗")
    };
    format!(
        "{} {} is back: {stayed}, {lost}\n",
        screen.paint.paint(style, mark),
        cut.node
    )
}

fn cell(shown: Duration, room: usize) -> Duration {
    let fits = |millis: &u64| shown.as_millis() <= u128::from(*millis) * room as u128;
    let millis = CELLS.into_iter().find(|millis| fits(millis));
    Duration::from_millis(millis.unwrap_or(CELLS[CELLS.len() - 1]))
}

/// Whether everything that was opened in each span of time was served.
fn strip(strip: &Strip, shown: Duration, cell: Duration) -> Vec<bool> {
    let Some(begin) = strip.off.checked_sub(BEFORE) else {
        return Vec::new();
    };
    let mut cells = Vec::new();
    let mut from = begin;
    while from < begin + shown {
        let is_in = |attempt: &&Attempt| (from..from + cell).contains(&attempt.sent);
        let mut attempts = strip.attempts.iter().filter(is_in).peekable();
        // A pace of 5 ms may leave out a cell of 5 ms.
        let before = cells.last().copied().unwrap_or(true);
        cells.push(if attempts.peek().is_some() {
            attempts.all(|attempt| attempt.is_lost(strip.read) == Some(false))
        } else {
            before
        });
        from += cell;
    }
    cells
}

/// Names the moments under the strips.
fn axis(node: &str, addresses: &[Moved], label: usize, cell: Duration, screen: Screen) -> String {
    let column = |time: Duration| usize::try_from(time.as_millis() / cell.as_millis()).unwrap_or(usize::MAX);
    let off = column(BEFORE);
    let first = format!("▲ {node} loses its power");
    let mut line = format!("{:width$}{first}", "", width = label + 2 + off);
    let moved = addresses.iter().filter(|moved| moved.before == node);
    if let Some(slowest) = moved.max_by(|one, other| one.lost_millis.total_cmp(&other.lost_millis)) {
        let again = off + column(Duration::from_secs_f64(slowest.lost_millis / 1000.0));
        if again > off + first.chars().count() {
            let gap = again - off - first.chars().count();
            let _ = write!(line, "{:gap$}▲ {} answers", "", slowest.after);
        }
    }
    screen.paint.paint(Style::Faint, &line) + "\n"
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::terminal::Paint;

    fn moved(address: &str, lost_millis: u64) -> Moved {
        let off = Instant::now();
        let start = off.checked_sub(Duration::from_secs(1)).unwrap();
        let lost = off..off + Duration::from_millis(lost_millis);
        let attempts: Vec<_> = (0..600)
            .map(|nth| start + EVERY * nth)
            .map(|sent| Attempt {
                sent,
                answered: (!lost.contains(&sent)).then_some(sent),
            })
            .collect();
        Moved {
            address: address.parse().unwrap(),
            before: "node-1".to_owned(),
            after: "node-2".to_owned(),
            reason: Some("OwnerDead".to_owned()),
            epoch: Some(2),
            lost_millis: lost_millis.to_string().parse().unwrap(),
            lost_connections: attempts.iter().filter(|attempt| attempt.answered.is_none()).count(),
            why: "the owner was silent for 302 ms".to_owned(),
            strip: Strip {
                attempts,
                off,
                read: start + Duration::from_secs(4),
            },
        }
    }

    #[test]
    fn an_outage_is_seen_at_a_glance() {
        let screen = Screen {
            width: 110,
            paint: Paint { has_colours: false },
        };
        let mut untouched = moved("172.30.0.231", 0);
        untouched.before = "node-3".to_owned();
        let text = cut("node-1", &[moved("fd00:172:30::230", 300), untouched], screen);
        let lines: Vec<_> = text.lines().collect();
        let wanted = [
            "",
            "fd00:172:30::230  ━━━━━━━━······························━━━━━━━━━━━━  300 ms lost",
            "172.30.0.231      ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  nothing lost",
            "                          ▲ node-1 loses its power      ▲ node-2 answers",
            "✓ node-2 answers for fd00:172:30::230: node-1 was silent for 302 ms (OwnerDead); 60 connections were lost",
        ];
        assert_eq!(lines, wanted);
        let back = back(
            &Cut {
                node: "node-1".to_owned(),
                addresses: Vec::new(),
                lost_at_return: 0,
                have_stayed: true,
            },
            screen,
        );
        assert_eq!(
            back,
            "✓ node-1 is back: the addresses stay where they are, no connection was lost\n"
        );
    }

    #[test]
    fn a_long_outage_fits_too() {
        let screen = Screen {
            width: 80,
            paint: Paint { has_colours: false },
        };
        let text = cut("node-1", &[moved("172.30.0.230", 900)], screen);
        let strip = text.lines().nth(1).unwrap();
        assert!(strip.chars().count() <= screen.width, "{strip}");
        assert_eq!(strip.matches(LOST).count(), 37, "{strip}");
    }
}
