//! Charts as SVG: plain figures from numbers. Colours come from the page's style, so that they
//! follow light and dark.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::format::{count, minute, size};
use icepack_core::model::totals::{BOUNDS, SizeHistogram};
use icepack_core::model::units::{GIB, KIB, MIB};

/// Pixels. Widths are shares of what there is, so that words keep their size on a narrow screen. What
/// stands beside the axis is outside the picture, where the page's style leaves room for it.
const HEIGHT: f64 = 220.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;

/// Pixels of a bar, and of a class with both of its bars.
const BAR: f64 = 13.0;
const CLASS: f64 = 36.0;

/// Points that get a dot each: of more, the dots would be a band.
const MOST_DOTS: usize = 60;

/// A figure of what is at a time: of raw files and of snapshots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub at: DateTime<Utc>,
    /// Of raw files.
    pub raw: u64,
    /// Of snapshots.
    pub packed: u64,
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Files,
    Bytes,
}

impl Unit {
    fn show(self, n: u64) -> String {
        match self {
            Self::Files => count(n),
            Self::Bytes => size(n),
        }
    }
}

/// The class of sizes at `index`: `<16 KiB`, `16–64 KiB`, …
pub fn class(index: usize) -> String {
    let short = |bytes: u64| match bytes {
        b if b >= GIB => format!("{} GiB", b / GIB),
        b if b >= MIB => format!("{} MiB", b / MIB),
        b => format!("{} KiB", b / KIB),
    };
    let (from, to) = (
        index.checked_sub(1).and_then(|i| BOUNDS.get(i)),
        BOUNDS.get(index),
    );
    match (from, to) {
        (None, Some(to)) => format!("<{}", short(*to)),
        (Some(from), Some(_)) => format!("{}+", short(*from)),
        (from, None) => format!("≥{}", short(from.copied().unwrap_or_default())),
    }
}

/// Files by size, before and after: two bars for each class, with their numbers beside them.
pub fn histogram(before: &SizeHistogram, after: &SizeHistogram) -> String {
    let pairs: Vec<(u64, u64)> = before
        .counts()
        .iter()
        .copied()
        .zip(after.counts().iter().copied())
        .collect();
    let most = pairs.iter().map(|(b, a)| *b.max(a)).max().unwrap_or(0);
    let is_used = |pair: &(u64, u64)| *pair != (0, 0);
    // Classes beyond the smallest and the largest file say nothing.
    let first = pairs.iter().position(is_used).unwrap_or(0);
    let last = pairs.iter().rposition(is_used).unwrap_or(0);
    let shown = pairs.iter().enumerate().take(last + 1).skip(first);
    let tall = CLASS * to_f64((last + 1 - first) as u64);
    let mut svg = open("Number of files by size, before and after", tall);
    for (row, (i, (b, a))) in shown.enumerate() {
        let y = CLASS * to_f64(row as u64) + 4.0;
        text(&mut svg, "tick", "start", "-72", y + BAR + 5.0, &class(i));
        bar(&mut svg, "raw", y, share(*b, most), &class(i), *b, "before");
        bar(
            &mut svg,
            "packed",
            y + BAR + 1.0,
            share(*a, most),
            &class(i),
            *a,
            "now",
        );
    }
    svg + "</svg>"
}

/// Two lines over time.
pub fn lines(title: &str, points: &[Point], unit: Unit) -> String {
    let most = points
        .iter()
        .map(|p| p.raw.max(p.packed))
        .max()
        .unwrap_or(0);
    let step = nice_step(most, unit);
    let top = step.saturating_mul(most.div_ceil(step)).max(step);
    let mut svg = open(title, HEIGHT);
    for mark in (0..=top / step).map(|i| i * step) {
        let y = HEIGHT - BOTTOM - height(share(mark, top));
        line(&mut svg, if mark == 0 { "axis" } else { "grid" }, y);
        text(&mut svg, "tick", "end", "-8", y + 4.0, &unit.show(mark));
    }
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return svg + "</svg>";
    };
    let span = (last.at - first.at).num_milliseconds().max(1) as f64;
    // Percent of the width.
    let x = |p: &Point| 100.0 * ((p.at - first.at).num_milliseconds() as f64 / span);
    let y = |n: u64| HEIGHT - BOTTOM - height(share(n, top));
    let kinds = [
        ("raw", "raw files", raw as fn(&Point) -> u64),
        ("packed", "snapshots", packed),
    ];
    let _ = write!(
        svg,
        r#"<svg viewBox="0 0 100 {HEIGHT}" preserveAspectRatio="none">"#
    );
    for (class_name, _, pick) in kinds {
        let path: Vec<String> = points
            .iter()
            .map(|p| format!("{:.2},{:.1}", x(p), y(pick(p))))
            .collect();
        let _ = write!(
            svg,
            r#"<polyline class="line {class_name}" points="{}"/>"#,
            path.join(" ")
        );
    }
    svg.push_str("</svg>");
    for (class_name, what, pick) in kinds {
        for p in points.iter().filter(|_| points.len() <= MOST_DOTS) {
            let said = match unit {
                Unit::Files => format!("{}: {} {what}", minute(p.at), unit.show(pick(p))),
                Unit::Bytes => format!("{}: {} of {what}", minute(p.at), unit.show(pick(p))),
            };
            let _ = write!(
                svg,
                r#"<circle class="dot {class_name}" cx="{:.2}%" cy="{:.1}" r="3"><title>{said}</title></circle>"#,
                x(p),
                y(pick(p))
            );
        }
    }
    let foot = HEIGHT - 8.0;
    text(&mut svg, "tick", "start", "0", foot, &minute(first.at));
    text(&mut svg, "tick", "end", "100%", foot, &minute(last.at));
    svg + "</svg>"
}

fn raw(p: &Point) -> u64 {
    p.raw
}

fn packed(p: &Point) -> u64 {
    p.packed
}

/// For people who hear it, a table with the same numbers stands beside each chart.
fn open(title: &str, tall: f64) -> String {
    format!(r#"<svg class="whole" height="{tall}" role="img" aria-label="{title}">"#)
}

fn line(svg: &mut String, class: &str, y: f64) {
    let _ = write!(
        svg,
        r#"<line class="{class}" x2="100%" y1="{y:.1}" y2="{y:.1}"/>"#
    );
}

fn text(svg: &mut String, class: &str, anchor: &str, x: &str, y: f64, said: &str) {
    let said = said.replace('<', "&lt;");
    let _ = write!(
        svg,
        r#"<text class="{class}" text-anchor="{anchor}" x="{x}" y="{y:.1}">{said}</text>"#
    );
}

/// A bar and its number. What is there can be seen, however small its share.
fn bar(svg: &mut String, kind: &str, y: f64, share: f64, size: &str, n: u64, when: &str) {
    if n == 0 {
        return;
    }
    let (size, wide) = (size.replace('<', "&lt;"), (share * 100.0).max(0.4));
    let _ = write!(
        svg,
        r#"<rect class="bar {kind}" y="{y:.1}" width="{wide:.1}%" height="{BAR}" rx="2"><title>{size}: {} {when}</title></rect><text class="value" x="{wide:.1}%" dx="6" y="{:.1}">{}</text>"#,
        count(n),
        y + BAR - 2.0,
        count(n)
    );
}

fn height(share: f64) -> f64 {
    share * (HEIGHT - TOP - BOTTOM)
}

fn share(part: u64, whole: u64) -> f64 {
    to_f64(part) / to_f64(whole.max(1))
}

#[allow(clippy::cast_precision_loss, reason = "a pixel is coarser")]
fn to_f64(n: u64) -> f64 {
    n as f64
}

/// A round distance between lines, so that there are three to six of them: 1, 2 or 5 times a power
/// of ten, or of two where bytes are counted.
fn nice_step(most: u64, unit: Unit) -> u64 {
    let wanted = most.div_ceil(5).max(1);
    if unit == Unit::Bytes {
        return wanted.checked_next_power_of_two().unwrap_or(u64::MAX);
    }
    let power = 10_u64.pow(wanted.ilog10());
    [1, 2, 5, 10]
        .map(|n| power.saturating_mul(n))
        .into_iter()
        .find(|step| *step >= wanted)
        .unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64, raw: u64, packed: u64) -> Point {
        Point {
            at: DateTime::from_timestamp(at, 0).unwrap(),
            raw,
            packed,
        }
    }

    #[test]
    fn lines_are_apart_by_round_numbers() {
        let files = [0, 1, 4, 5, 7, 40, 100, 1_234].map(|n| nice_step(n, Unit::Files));
        assert_eq!(files, [1, 1, 1, 1, 2, 10, 20, 500]);
        assert_eq!(
            [3, 5 << 20, u64::MAX].map(|n| nice_step(n, Unit::Bytes)),
            [1, 1 << 20, 1 << 62]
        );
    }

    #[test]
    fn every_class_has_a_name() {
        let names: Vec<String> = (0..10).map(class).collect();
        assert_eq!(
            names,
            [
                "<16 KiB", "16 KiB+", "64 KiB+", "256 KiB+", "1 MiB+", "4 MiB+", "16 MiB+",
                "64 MiB+", "256 MiB+", "≥1 GiB"
            ]
        );
    }

    #[test]
    fn a_bar_for_each_class_that_has_files_and_its_number_on_it() {
        let svg = histogram(
            &SizeHistogram::of([1, 2, 3, 1 << 20]),
            &SizeHistogram::of([200 << 20]),
        );
        assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
        assert!(
            svg.contains("&lt;16 KiB: 3 before") && svg.contains("64 MiB+: 1 now"),
            "{svg}"
        );
        assert!(
            svg.contains(r#"width="33.3%" height="13""#),
            "one of three is a third as wide: {svg}"
        );
        assert!(svg.contains("4 MiB+") && !svg.contains("256 MiB+"), "{svg}");
        assert!(
            histogram(&SizeHistogram::default(), &SizeHistogram::default())
                .matches("<rect")
                .next()
                .is_none()
        );
    }

    #[test]
    fn points_stay_inside_the_picture() {
        for points in [
            vec![],
            vec![point(0, 5, 1)],
            vec![point(0, 5, 1), point(10, 0, 9)],
            vec![point(5, 0, 0), point(5, 0, 0)],
        ] {
            let svg = lines("Files", &points, Unit::Files);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert_eq!(svg.matches("<circle").count(), points.len() * 2);
        }
        let many: Vec<Point> = (0..200).map(|n| point(n, 5, 1)).collect();
        assert!(!lines("Files", &many, Unit::Files).contains("<circle"));
        let svg = lines("Files", &[point(0, 5, 1), point(10, 0, 9)], Unit::Files);
        assert!(
            svg.contains(r#"cx="0.00%" cy="100.0""#),
            "five of ten is half way up: {svg}"
        );
    }
}
