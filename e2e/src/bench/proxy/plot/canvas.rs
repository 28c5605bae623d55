//! The little of SVG that a plot needs, and room for labels.

use std::fmt::Write;

/// Whatever the reader's system has that is easy to read.
const FONT: &str = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif";
/// Half the size of a marker.
const MARKER: f64 = 4.0;
/// The width of a letter of the widest of these fonts, in font sizes.
const LETTER: f64 = 0.62;
/// How far a label is from its marker.
const GAP: f64 = 9.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rectangle {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// Which part of a text is at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Where a label goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    pub(super) at: Point,
    pub(super) anchor: Anchor,
    pub(super) covers: Rectangle,
}

impl Rectangle {
    pub(super) fn around(at: Point, distance: f64) -> Self {
        Self {
            left: at.x - distance,
            top: at.y - distance,
            right: at.x + distance,
            bottom: at.y + distance,
        }
    }

    pub(super) fn including(self, point: Point) -> Self {
        Self {
            left: self.left.min(point.x),
            top: self.top.min(point.y),
            right: self.right.max(point.x),
            bottom: self.bottom.max(point.y),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn contains(&self, other: &Self) -> bool {
        self.left <= other.left && other.right <= self.right && self.top <= other.top && other.bottom <= self.bottom
    }
}

/// Small rectangles along a line, for [`find_room`].
pub(super) fn cover(from: Point, to: Point) -> impl Iterator<Item = Rectangle> {
    const PARTS: u32 = 32;
    (0..=PARTS).map(move |part| {
        let share = f64::from(part) / f64::from(PARTS);
        let at = Point {
            x: from.x + (to.x - from.x) * share,
            y: from.y + (to.y - from.y) * share,
        };
        Rectangle::around(at, 2.0)
    })
}

/// What a text covers, rather more than less.
pub(super) fn text_covers(at: Point, anchor: Anchor, text: &str, size: f64) -> Rectangle {
    let letters = u32::try_from(text.chars().count()).expect("a label is short");
    let width = f64::from(letters) * size * LETTER;
    let left = match anchor {
        Anchor::Start => at.x,
        Anchor::Middle => at.x - width / 2.0,
        Anchor::End => at.x - width,
    };
    Rectangle {
        left,
        top: at.y - size * 0.8,
        right: left + width,
        bottom: at.y + size * 0.25,
    }
}

/// A place for a label near its marker: within `area`, and free of what is taken, if there is one.
pub(super) fn find_room(marker: Point, text: &str, size: f64, area: Rectangle, taken: &[Rectangle]) -> Label {
    let Point { x, y } = marker;
    let (above, level, below) = (y - GAP, y + size * 0.3, y + GAP + size * 0.8);
    let (left, right) = (x - GAP, x + GAP);
    let candidates = [
        (x, above, Anchor::Middle),
        (x, below, Anchor::Middle),
        (right, level, Anchor::Start),
        (left, level, Anchor::End),
        (right, above, Anchor::Start),
        (left, above, Anchor::End),
        (right, below, Anchor::Start),
        (left, below, Anchor::End),
    ]
    .map(|(x, y, anchor)| (Point { x, y }, anchor))
    .map(|(at, anchor)| Label {
        at,
        anchor,
        covers: text_covers(at, anchor, text, size),
    });
    let conflicts = |label: &Label| {
        let inside = if area.contains(&label.covers) { 0 } else { 1000 };
        inside + taken.iter().filter(|taken| taken.overlaps(&label.covers)).count()
    };
    let [first, rest @ ..] = candidates;
    rest.into_iter().fold(first, |best, label| {
        if conflicts(&label) < conflicts(&best) {
            label
        } else {
            best
        }
    })
}

/// An SVG file that grows.
#[derive(Debug)]
pub(super) struct Canvas {
    text: String,
}

impl Canvas {
    /// `title` is for those who do not see the picture.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" font-family=\"{FONT}\">\n<title>{}</title>\n",
            escape(title)
        );
        Self { text }
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        self.text.write_fmt(element).expect("a string takes everything");
        self.text.push('\n');
    }

    pub(super) fn rectangle(&mut self, area: Rectangle, colour: &str) {
        let (width, height) = (area.right - area.left, area.bottom - area.top);
        self.add(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{colour}\"/>",
            area.left, area.top
        ));
    }

    pub(super) fn line(&mut self, from: Point, to: Point, colour: &str) {
        self.add(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
            from.x, from.y, to.x, to.y
        ));
    }

    pub(super) fn path(&mut self, points: &[Point], colour: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|point| format!("{:.1},{:.1}", point.x, point.y))
            .collect();
        self.add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.2\" stroke-linejoin=\"round\"/>",
            points.join(" ")
        ));
    }

    /// From a value up to another.
    pub(super) fn whisker(&mut self, from: Point, to: Point, colour: &str) {
        self.add(format_args!(
            "<path d=\"M{:.1},{:.1}V{:.1}m-4,0h8\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.4\"/>",
            from.x, from.y, to.y
        ));
    }

    pub(super) fn marker(&mut self, at: Point, is_round: bool, is_filled: bool, colour: &str) {
        let fill = if is_filled { colour } else { "#ffffff" };
        let style = format!("fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"");
        if is_round {
            self.add(format_args!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{MARKER}\" {style}/>",
                at.x, at.y
            ));
        } else {
            let (left, top, width) = (at.x - MARKER, at.y - MARKER, 2.0 * MARKER);
            self.add(format_args!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width}\" height=\"{width}\" {style}/>"
            ));
        }
    }

    /// From a marker upwards: its value is higher.
    pub(super) fn arrow_up(&mut self, from: Point, colour: &str) {
        self.add(format_args!(
            "<path d=\"M{:.1},{:.1}v-20m-4,6l4,-6l4,6\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>",
            from.x, from.y
        ));
    }

    pub(super) fn text(&mut self, at: Point, size: f64, colour: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.add(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{size}\" fill=\"{colour}\" text-anchor=\"{anchor}\">{}</text>",
            at.x,
            at.y,
            escape(text)
        ));
    }

    pub(super) fn bold(&mut self, at: Point, size: f64, colour: &str, text: &str) {
        self.add(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{size}\" fill=\"{colour}\" font-weight=\"600\">{}</text>",
            at.x,
            at.y,
            escape(text)
        ));
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_goes_where_nothing_is() {
        let area = Rectangle {
            left: 0.0,
            top: 0.0,
            right: 200.0,
            bottom: 200.0,
        };
        let marker = Point { x: 100.0, y: 100.0 };
        let above = find_room(marker, "label", 10.0, area, &[]);
        assert!(above.at.y < 100.0);
        let below = find_room(marker, "label", 10.0, area, &[above.covers]);
        assert!(below.at.y > 100.0 && !below.covers.overlaps(&above.covers));
        // Above is outside of the area.
        let at_the_top = find_room(Point { x: 100.0, y: 2.0 }, "label", 10.0, area, &[]);
        assert!(area.contains(&at_the_top.covers), "{at_the_top:?}");
    }

    #[test]
    fn text_is_escaped() {
        let mut canvas = Canvas::new(1.0, 1.0, "a & b");
        canvas.text(Point { x: 0.0, y: 0.0 }, 1.0, "red", Anchor::Middle, "1 < 2");
        let text = canvas.finish();
        assert!(text.contains("a &amp; b") && text.contains("1 &lt; 2"));
    }
}
