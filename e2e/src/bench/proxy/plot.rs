//! The figures as a picture: each cost against the number of Services, on logarithmic axes.
//!
//! Clusters with two endpoints of each Service make a line, any other is a hollow marker with its size beside it. Both
//! programs have a colour (of Okabe and Ito's palette, which colour-blind people tell apart) and a shape.

mod axis;
mod canvas;

use super::report::{Changes, Comparison, Figures, Report};
use axis::{Axis, Unit};
use canvas::{Anchor, Canvas, Point, Rectangle};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 736.0;
const INK: &str = "#1f2328";
const PALE: &str = "#59636e";
const GRID: &str = "#e4e7eb";

/// Size of a panel's plot, and where the first begins. The next is a step away.
const PANEL: (f64, f64) = (290.0, 232.0);
const FIRST: (f64, f64) = (72.0, 112.0);
const STEP: (f64, f64) = (440.0, 320.0);
const LABEL_SIZE: f64 = 11.5;
/// Lines of labels are so far apart at least.
const LEADING: f64 = 14.0;

/// The endpoints of a Service in the clusters that make the line.
const ENDPOINTS: u32 = 2;

#[derive(Debug, Clone, Copy)]
struct Program {
    name: &'static str,
    colour: &'static str,
    is_round: bool,
    figures: fn(&Comparison) -> &Figures,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "kube-proxy",
        colour: "#d55e00",
        is_round: false,
        figures: |comparison| &comparison.kube_proxy,
    },
    Program {
        name: "Fairlead",
        colour: "#0072b2",
        is_round: true,
        figures: |comparison| &comparison.fairlead,
    },
];

/// One cost of one cluster.
#[derive(Debug)]
struct Value {
    at: f64,
    /// The p99 where there is one.
    up_to: Option<f64>,
    /// That it was not done: the real value is higher than this.
    more_than: Option<String>,
}

struct Panel {
    title: &'static str,
    unit: Unit,
    value: fn(&Figures) -> Option<Value>,
}

fn done(at: f64) -> Value {
    Value {
        at,
        up_to: None,
        more_than: None,
    }
}

fn of_changes(figures: &Figures, value: impl FnOnce(&Changes) -> Value) -> Option<Value> {
    figures.changes.as_ref().map(value)
}

const PANELS: [Panel; 4] = [
    Panel {
        title: "Start of the process → first sync",
        unit: Unit::Seconds,
        value: |figures| {
            Some(Value {
                more_than: figures.is_unfinished().then(|| figures.start.to_string()),
                ..done(figures.start.so_far().0)
            })
        },
    },
    Panel {
        title: "One change, request → synced: p50, with a bar to p99",
        unit: Unit::Seconds,
        value: |figures| {
            of_changes(figures, |changes| Value {
                up_to: Some(changes.p99.0),
                ..done(changes.p50.0)
            })
        },
    },
    Panel {
        title: "CPU time of one change",
        unit: Unit::Seconds,
        value: |figures| of_changes(figures, |changes| done(changes.cpu.0)),
    },
    Panel {
        title: "Memory after the changes (RSS)",
        unit: Unit::Mebibytes,
        value: |figures| {
            Some(Value {
                more_than: figures.is_unfinished().then(|| format!("> {}", figures.memory)),
                ..done(figures.memory.0)
            })
        },
    },
];

/// Draws the figures as an SVG file.
pub(super) fn draw(report: &Report) -> String {
    let mut canvas = Canvas::new(
        WIDTH,
        HEIGHT,
        "Cost of kube-proxy and of Fairlead against the number of Services",
    );
    canvas.rectangle(
        Rectangle {
            left: 0.0,
            top: 0.0,
            right: WIDTH,
            bottom: HEIGHT,
        },
        "#ffffff",
    );
    let title = format!(
        "kube-proxy {} (nftables) and Fairlead on one node",
        report.kube_proxy_version
    );
    canvas.bold(Point { x: 24.0, y: 36.0 }, 17.0, INK, &title);
    let subtitle = "Lines: Services with 2 endpoints each. Hollow: other clusters, Services × endpoints. Both axes are logarithmic; lower is better.";
    canvas.text(Point { x: 24.0, y: 58.0 }, 12.0, PALE, Anchor::Start, subtitle);
    for (panel, (column, row)) in PANELS.iter().zip([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]) {
        let (left, top) = (FIRST.0 + column * STEP.0, FIRST.1 + row * STEP.1);
        let area = Rectangle {
            left,
            top,
            right: left + PANEL.0,
            bottom: top + PANEL.1,
        };
        draw_panel(&mut canvas, panel, area, &report.comparisons);
    }
    canvas.finish()
}

fn draw_panel(canvas: &mut Canvas, panel: &Panel, area: Rectangle, comparisons: &[Comparison]) {
    let title = Point {
        x: area.left - 48.0,
        y: area.top - 16.0,
    };
    canvas.bold(title, 13.0, INK, panel.title);
    let values = |program: Program| {
        comparisons.iter().filter_map(move |comparison| {
            let value = (panel.value)((program.figures)(comparison))?;
            Some((comparison, value))
        })
    };
    let all = || PROGRAMS.into_iter().flat_map(values);
    let x = Axis::over(
        all().map(|(comparison, _)| f64::from(comparison.size.services)),
        area.left,
        area.right,
    );
    let y = Axis::over(
        all().flat_map(|(_, value)| [value.at, value.up_to.unwrap_or(value.at)]),
        area.bottom,
        area.top,
    );
    let (Some(x), Some(y)) = (x, y) else { return };
    draw_axes(canvas, panel.unit, area, &x, &y, comparisons);

    let place = |comparison: &Comparison, at: f64| Point {
        x: x.place(f64::from(comparison.size.services)),
        y: y.place(at),
    };
    let lines = PROGRAMS.map(|program| {
        let mut line: Vec<Point> = values(program)
            .filter(|(comparison, _)| comparison.size.endpoints == ENDPOINTS)
            .map(|(comparison, value)| place(comparison, value.at))
            .collect();
        line.sort_by(|a, b| a.x.total_cmp(&b.x));
        line
    });
    let mut taken: Vec<Rectangle> = Vec::new();
    for (program, line) in PROGRAMS.iter().zip(&lines) {
        canvas.path(line, program.colour);
        taken.extend(line.windows(2).flat_map(|ends| canvas::cover(ends[0], ends[1])));
    }
    for program in PROGRAMS {
        for (comparison, value) in values(program) {
            let at = place(comparison, value.at);
            if let Some(up_to) = value.up_to {
                let top = Point {
                    x: at.x,
                    y: y.place(up_to),
                };
                canvas.whisker(at, top, program.colour);
                taken.push(Rectangle::around(at, 5.0).including(top));
            }
            if value.more_than.is_some() {
                canvas.arrow_up(at, program.colour);
            }
            let is_filled = comparison.size.endpoints == ENDPOINTS;
            canvas.marker(at, program.is_round, is_filled, program.colour);
            taken.push(Rectangle::around(at, 5.0));
        }
    }
    draw_names(canvas, area, &lines, &mut taken);
    for program in PROGRAMS {
        for (comparison, value) in values(program) {
            if comparison.size.endpoints != ENDPOINTS {
                let size = comparison.size;
                let text = match value.more_than {
                    None => size.to_string(),
                    Some(more_than) => format!("{size}: {more_than}"),
                };
                let at = place(comparison, value.at);
                let room = Rectangle {
                    left: area.left,
                    right: WIDTH.min(area.right + 90.0),
                    ..area
                };
                let label = canvas::find_room(at, &text, LABEL_SIZE, room, &taken);
                canvas.text(label.at, LABEL_SIZE, program.colour, label.anchor, &text);
                taken.push(label.covers);
            }
        }
    }
}

/// The programs' names, where their lines end.
fn draw_names(canvas: &mut Canvas, area: Rectangle, lines: &[Vec<Point>; 2], taken: &mut Vec<Rectangle>) {
    let mut ends: Vec<(Point, Program)> = lines
        .iter()
        .zip(PROGRAMS)
        .filter_map(|(line, program)| Some((*line.last()?, program)))
        .collect();
    ends.sort_by(|(a, _), (b, _)| a.y.total_cmp(&b.y));
    if let [(upper, _), (lower, _)] = ends.as_mut_slice() {
        let missing = (LEADING - (lower.y - upper.y)).max(0.0);
        upper.y -= missing / 2.0;
        lower.y += missing / 2.0;
    }
    for (end, program) in ends {
        let at = Point {
            x: area.right + 8.0,
            y: end.y + 4.0,
        };
        canvas.bold(at, 12.0, program.colour, program.name);
        taken.push(canvas::text_covers(at, Anchor::Start, program.name, 12.0));
    }
}

fn draw_axes(canvas: &mut Canvas, unit: Unit, area: Rectangle, x: &Axis, y: &Axis, comparisons: &[Comparison]) {
    for tick in y.ticks() {
        let at = y.place(tick);
        canvas.line(Point { x: area.left, y: at }, Point { x: area.right, y: at }, GRID);
        let label = Point {
            x: area.left - 8.0,
            y: at + 4.0,
        };
        canvas.text(label, LABEL_SIZE, PALE, Anchor::End, &unit.label(tick));
    }
    // What was measured is what is labelled, as far as there is room.
    let mut measured: Vec<u32> = comparisons
        .iter()
        .filter(|comparison| comparison.size.endpoints == ENDPOINTS)
        .map(|comparison| comparison.size.services)
        .collect();
    measured.sort_unstable();
    measured.dedup();
    let mut last = f64::NEG_INFINITY;
    for services in measured {
        let at = x.place(f64::from(services));
        canvas.line(Point { x: at, y: area.top }, Point { x: at, y: area.bottom }, GRID);
        if at - last >= 44.0 {
            let label = Point {
                x: at,
                y: area.bottom + 17.0,
            };
            canvas.text(
                label,
                LABEL_SIZE,
                PALE,
                Anchor::Middle,
                &Unit::Number.label(f64::from(services)),
            );
            last = at;
        }
    }
    canvas.line(
        Point {
            x: area.left,
            y: area.bottom,
        },
        Point {
            x: area.right,
            y: area.bottom,
        },
        PALE,
    );
    let label = Point {
        x: f64::midpoint(area.left, area.right),
        y: area.bottom + 36.0,
    };
    canvas.text(label, 12.0, INK, Anchor::Middle, "Services");
}

#[cfg(test)]
mod tests {
    use super::super::report;
    use super::*;

    #[test]
    fn the_picture_names_what_it_shows() {
        let picture = draw(&report::tests::example());
        for text in [
            "kube-proxy 1.37.2 (nftables) and Fairlead",
            ">10,000</text>",
            ">10 s</text>",
            ">5,000 × 50</text>",
            ">5,000 × 50: &gt; 10 min</text>",
            ">Fairlead</text>",
        ] {
            assert!(picture.contains(text), "{text}");
        }
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }

    #[test]
    fn a_report_without_figures_is_an_empty_picture() {
        let mut report = report::tests::example();
        report.comparisons.clear();
        assert!(draw(&report).ends_with("</svg>\n"));
    }
}
