//! Prometheus's text format, version 0.0.4: the one that the textfile collector and the Pushgateway
//! read.

use std::fmt::{Display, Write};

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Counter,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// With its unit; ends in `_total` where it only rises.
    pub name: &'static str,
    pub kind: Kind,
    /// What it is, in a sentence.
    pub help: &'static str,
}

/// A document under way.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a metric.
    pub fn family(&mut self, family: &Family) -> Samples<'_> {
        let kind = match family.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing to a String cannot fail.
        let _ = write!(
            self.0,
            "# HELP {0} {1}\n# TYPE {0} {kind}\n",
            family.name, family.help
        );
        Samples {
            text: &mut self.0,
            name: family.name,
        }
    }

    /// The document.
    pub fn finish(self) -> String {
        self.0
    }
}

/// The samples of one metric.
pub struct Samples<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Samples<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.text, "{}{labels} {value}", self.name);
    }

    /// The only sample, without labels.
    pub fn one(&mut self, value: impl Display) {
        self.sample(&[], value);
    }

    /// A sample for each value of one label.
    pub fn each(&mut self, label: &str, values: &[(&str, u64)]) {
        for (name, value) in values {
            self.sample(&[(label, name)], value);
        }
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_break_out() {
        let mut text = Text::default();
        text.family(&Family {
            name: "m",
            kind: Kind::Gauge,
            help: "h",
        })
        .sample(&[("tenant", "a\"b\\c\nd")], 1.5);
        assert_eq!(
            text.finish(),
            "# HELP m h\n# TYPE m gauge\nm{tenant=\"a\\\"b\\\\c\\nd\"} 1.5\n"
        );
    }
}
