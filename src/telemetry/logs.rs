//! Logs: stderr, as text or JSON, never through a bar that is being drawn.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::{Error, Result};
use clap::ValueEnum;
use indicatif::MultiProgress;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::json_lines::JsonLines;
use super::otel::Spans;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Starts logging. Lines are written between the redraws of `bars`; `spans` sends the spans.
pub fn start(
    format: LogFormat,
    filter: EnvFilter,
    is_colored: bool,
    bars: &MultiProgress,
    spans: Option<Spans<Registry>>,
) -> Result<()> {
    // Spans that are for traces alone would make every line longer.
    let filter = filter.and(filter_fn(|metadata| {
        metadata.target() != super::TRACES_ONLY
    }));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(BetweenBars { bars: bars.clone() })
        .with_target(false);
    let lines = match format {
        LogFormat::Text => layer
            .compact()
            .with_ansi(is_colored)
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => layer
            .with_ansi(false)
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines)
            .with_filter(filter)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(spans)
        .with(lines)
        .try_init()
        .map_err(|e| Error::local("cannot start logging", e))
}

/// The filter of `level`, which `source` gives: a level, or directives like `icepack=debug`.
pub fn filter(level: &str, source: &str) -> Result<EnvFilter> {
    let plain = ["off", "error", "warn", "info", "debug", "trace"]
        .iter()
        .any(|l| level.eq_ignore_ascii_case(l));
    // A bare word that is no level would be taken for the name of a module, and nothing be logged.
    let wrong = !plain && !level.contains(['=', ',']);
    // A plain level is about this program; the libraries below it log warnings only. Of a
    // certificate that is not trusted, the request's own error is enough: the verifier repeats it at
    // each attempt. So it is of credentials: the chain warns of each place that has none.
    let directives = if plain {
        format!("warn,rustls_platform_verifier=off,aws_config=error,icepack={level}")
    } else {
        level.to_owned()
    };
    match EnvFilter::try_new(directives) {
        Ok(filter) if !wrong => Ok(filter),
        _ => Err(Error::Usage(format!(
            "{source}: `{level}` is not a log level: use error, warn, info, debug, trace, or a \
             filter like icepack=debug"
        ))),
    }
}

/// stderr, with the bars out of the way.
#[derive(Clone)]
struct BetweenBars {
    bars: MultiProgress,
}

impl<'a> MakeWriter<'a> for BetweenBars {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for BetweenBars {
    /// Never fails: the subscriber would report the failure to stderr, which is what has failed.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let flat = flatten(line);
        self.bars.suspend(|| {
            let _ = io::stderr().write_all(&flat);
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One event, one line: servers answer in documents of several, and stores' errors quote them.
fn flatten(event: &[u8]) -> Cow<'_, [u8]> {
    let Some((end, text)) = event.split_last().filter(|(_, text)| text.contains(&b'\n')) else {
        return Cow::Borrowed(event);
    };
    let flat = text.iter().map(|b| if *b == b'\n' { b' ' } else { *b });
    Cow::Owned(flat.chain([*end]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(flatten(b"plain\n"), Cow::Borrowed(&b"plain\n"[..]));
        assert_eq!(&*flatten(b"a\nb\nc\n"), b"a b c\n");
        assert_eq!(&*flatten(b""), b"");
    }
}
