//! Charts as SVG: plain figures from numbers. Colours come from the page's style, so that they
//! follow light and dark.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::format::{count, minute, size};
use icepack_core::model::totals::{BOUNDS, SizeHistogram};
use icepack_core::model::units::{GIB, KIB, MIB};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 30.0;

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

/// Files by size, before and after: two bars for each class, with their numbers on them.
pub fn histogram(before: &SizeHistogram, after: &SizeHistogram) -> String {
    let most = before
        .counts()
        .iter()
        .chain(after.counts())
        .copied()
        .max()
        .unwrap_or(0)
        .max(1);
    let classes = before.counts().len();
    let step = (WIDTH - RIGHT) / to_f64(classes as u64);
    let bar = (step / 2.0 - 5.0).min(26.0);
    let mut svg = open("Number of files by size, before and after");
    line(&mut svg, "axis", 0.0, HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (i, (b, a)) in before.counts().iter().zip(after.counts()).enumerate() {
        let middle = step * (to_f64(i as u64) + 0.5);
        for (n, class_name, x, what) in [
            (*b, "raw", middle - bar - 1.0, "before"),
            (*a, "packed", middle + 1.0, "now"),
        ] {
            column(
                &mut svg,
                class_name,
                x,
                bar,
                share(n, most),
                &format!("{}: {} {what}", class(i), count(n)),
            );
            if n > 0 {
                let y = HEIGHT - BOTTOM - height(share(n, most)) - 5.0;
                text(
                    &mut svg,
                    "value",
                    "middle",
                    x + bar / 2.0,
                    y,
                    &short_count(n),
                );
            }
        }
        text(&mut svg, "tick", "middle", middle, HEIGHT - 10.0, &class(i));
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
    let mut svg = open(title);
    for mark in (0..=top / step).map(|i| i * step) {
        let y = HEIGHT - BOTTOM - height(share(mark, top));
        line(
            &mut svg,
            if mark == 0 { "axis" } else { "grid" },
            LEFT,
            y,
            WIDTH - RIGHT,
        );
        text(
            &mut svg,
            "tick",
            "end",
            LEFT - 8.0,
            y + 4.0,
            &unit.show(mark),
        );
    }
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return svg + "</svg>";
    };
    let span = (last.at - first.at).num_milliseconds().max(1) as f64;
    let x = |p: &Point| {
        LEFT + (WIDTH - LEFT - RIGHT) * ((p.at - first.at).num_milliseconds() as f64 / span)
    };
    for (class_name, what, pick) in [
        ("raw", "raw files", raw as fn(&Point) -> u64),
        ("packed", "snapshots", packed),
    ] {
        let y = |p: &Point| HEIGHT - BOTTOM - height(share(pick(p), top));
        let path: Vec<String> = points
            .iter()
            .map(|p| format!("{:.1},{:.1}", x(p), y(p)))
            .collect();
        let _ = write!(
            svg,
            r#"<polyline class="line {class_name}" points="{}"/>"#,
            path.join(" ")
        );
        for p in points {
            let said = format!("{}: {} of {what}", minute(p.at), unit.show(pick(p)));
            let said = if unit == Unit::Files {
                said.replace(" of ", " ")
            } else {
                said
            };
            let _ = write!(
                svg,
                r#"<circle class="dot {class_name}" cx="{:.1}" cy="{:.1}" r="3"><title>{said}</title></circle>"#,
                x(p),
                y(p)
            );
        }
    }
    text(
        &mut svg,
        "tick",
        "start",
        LEFT,
        HEIGHT - 8.0,
        &minute(first.at),
    );
    text(
        &mut svg,
        "tick",
        "end",
        WIDTH - RIGHT,
        HEIGHT - 8.0,
        &minute(last.at),
    );
    svg + "</svg>"
}

fn raw(p: &Point) -> u64 {
    p.raw
}

fn packed(p: &Point) -> u64 {
    p.packed
}

/// For people who hear it, a table with the same numbers stands beside each chart.
fn open(title: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">"#)
}

fn line(svg: &mut String, class: &str, x: f64, y: f64, to: f64) {
    let _ = write!(
        svg,
        r#"<line class="{class}" x1="{x:.1}" x2="{to:.1}" y1="{y:.1}" y2="{y:.1}"/>"#
    );
}

fn text(svg: &mut String, class: &str, anchor: &str, x: f64, y: f64, said: &str) {
    let said = said.replace('<', "&lt;");
    let _ = write!(
        svg,
        r#"<text class="{class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{said}</text>"#
    );
}

/// A column on the axis, round at its top. What is there can be seen, however small its share.
fn column(svg: &mut String, class: &str, x: f64, width: f64, share: f64, said: &str) {
    if share <= 0.0 {
        return;
    }
    let (foot, high) = (HEIGHT - BOTTOM, height(share).max(2.0));
    let round = high.min(4.0);
    let (right, top, said) = (x + width, foot - high, said.replace('<', "&lt;"));
    let _ = write!(
        svg,
        r#"<path class="bar {class}" d="M{x:.1} {foot:.1}V{:.1}Q{x:.1} {top:.1} {:.1} {top:.1}H{:.1}Q{right:.1} {top:.1} {right:.1} {:.1}V{foot:.1}Z"><title>{said}</title></path>"#,
        top + round,
        x + round,
        right - round,
        top + round
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

/// `999`, `12k`, `3.4M`: it must fit on a bar.
fn short_count(n: u64) -> String {
    match n {
        0..10_000 => count(n),
        10_000..1_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
    }
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
        assert_eq!(svg.matches("<path").count(), 3, "{svg}");
        assert!(
            svg.contains("&lt;16 KiB: 3 before") && svg.contains("64 MiB+: 1 now"),
            "{svg}"
        );
        // One of three files is still a third of the height.
        assert!(
            histogram(&SizeHistogram::default(), &SizeHistogram::default())
                .matches("<path")
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
        let svg = lines("Files", &[point(0, 5, 1), point(10, 0, 9)], Unit::Files);
        assert!(
            svg.contains(r#"cx="76.0" cy="119.0""#),
            "five of ten is half way up: {svg}"
        );
    }
}
