//! Logs: stderr, as text or JSON, never through a bar that is being drawn.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use crate::pass::trace;
use crate::{Error, Result};
use indicatif::MultiProgress;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::args::{Global, LogFormat};
use super::json_lines::JsonLines;
use super::otel::Spans;
use super::output::use_color;
use crate::settings::Environment;

/// How logs are written: by the flag, else by the environment, else as text.
pub fn format(global: &Global, env: &Environment) -> Result<LogFormat> {
    match (global.log_format, env.get("ICEPACK_LOG_FORMAT")) {
        (Some(format), _) => Ok(format),
        (None, None | Some("text")) => Ok(LogFormat::Text),
        (None, Some("json")) => Ok(LogFormat::Json),
        (None, Some(other)) => Err(Error::Usage(format!(
            "environment ICEPACK_LOG_FORMAT: `{other}` is not a log format: use text or json"
        ))),
    }
}

/// Starts logging. Lines are written between the redraws of `bars`; `spans` sends the spans.
pub fn start(
    global: &Global,
    env: &Environment,
    bars: &MultiProgress,
    spans: Option<Spans<Registry>>,
) -> Result<()> {
    // Spans that are for traces alone would make every line longer.
    let filter = filter(global, env)?.and(filter_fn(|metadata| metadata.target() != trace::TARGET));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(BetweenBars { bars: bars.clone() })
        .with_target(false);
    let lines = match format(global, env)? {
        LogFormat::Text => layer
            .compact()
            .with_ansi(use_color(global.color, io::stderr().is_terminal()))
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

fn filter(global: &Global, env: &Environment) -> Result<EnvFilter> {
    let (given, from) = match (&global.log_level, env.get("ICEPACK_LOG")) {
        (Some(level), _) => (level.as_str(), "--log-level"),
        (None, _) if global.quiet => ("warn", "--quiet"),
        (None, Some(level)) => (level, "environment ICEPACK_LOG"),
        (None, None) => ("info", "default"),
    };
    let plain = ["off", "error", "warn", "info", "debug", "trace"]
        .iter()
        .any(|l| given.eq_ignore_ascii_case(l));
    // A bare word that is no level would be taken for the name of a module, and nothing be logged.
    let wrong = !plain && !given.contains(['=', ',']);
    // A plain level is about this program; the libraries below it log warnings only. Of a
    // certificate that is not trusted, the request's own error is enough: the verifier repeats it at
    // each attempt.
    let directives = if plain {
        format!("warn,rustls_platform_verifier=off,icepack={given}")
    } else {
        given.to_owned()
    };
    match EnvFilter::try_new(directives) {
        Ok(filter) if !wrong => Ok(filter),
        _ => Err(Error::Usage(format!(
            "{from}: `{given}` is not a log level: use error, warn, info, debug, trace, or a \
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
    use super::super::args::Cli;
    use super::*;
    use clap::Parser;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        )
    }

    fn directives(args: &[&str], vars: &[(&str, &str)]) -> Result<String> {
        let cli = Cli::parse_from(["icepack", "status"].iter().chain(args));
        filter(&cli.global, &env(vars)).map(|f| f.to_string())
    }

    #[test]
    fn a_flag_beats_the_environment() {
        let debug = [("ICEPACK_LOG", "debug")];
        let plain = |level: &str| format!("rustls_platform_verifier=off,icepack={level},warn");
        assert_eq!(directives(&[], &[]).unwrap(), plain("info"));
        assert_eq!(directives(&[], &debug).unwrap(), plain("debug"));
        assert_eq!(
            directives(&["--log-level", "error"], &debug).unwrap(),
            plain("error")
        );
        assert_eq!(directives(&["-q"], &debug).unwrap(), plain("warn"));
        assert_eq!(
            directives(&["--log-level", "icepack=trace,hyper=debug"], &[]).unwrap(),
            "icepack=trace,hyper=debug"
        );
        assert!(directives(&["--log-level", "loud"], &[]).is_err());
    }

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(flatten(b"plain\n"), Cow::Borrowed(&b"plain\n"[..]));
        assert_eq!(&*flatten(b"a\nb\nc\n"), b"a b c\n");
        assert_eq!(&*flatten(b""), b"");
    }

    #[test]
    fn the_format_is_text_or_json() {
        let cli = Cli::parse_from(["icepack", "status"]);
        assert_eq!(format(&cli.global, &env(&[])).unwrap(), LogFormat::Text);
        assert_eq!(
            format(&cli.global, &env(&[("ICEPACK_LOG_FORMAT", "json")])).unwrap(),
            LogFormat::Json
        );
        assert!(format(&cli.global, &env(&[("ICEPACK_LOG_FORMAT", "xml")])).is_err());
    }
}
