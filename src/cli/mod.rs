//! The command line: parse, resolve settings, call the library, render. Everything that decides
//! anything is in the library.

mod args;
mod bars;
mod commands;
mod demo;
mod examples;
mod init;
mod json_lines;
mod logs;
mod manual;
mod otel;
mod output;
mod render;
mod report;
mod restore;
mod shard;
mod signals;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::settings::{Environment, Layers, Settings};
use crate::{Error, Result};
use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command, LogFormat};
use commands::App;
use otel::Traces;
use output::{Output, complain};

const USAGE: u8 = 2;

/// Runs the program.
pub fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    ExitCode::from(match parse(&typed) {
        Ok(cli) => start(&cli),
        Err(code) => code,
    })
}

/// The command line, or the exit code after help, version or a complaint.
fn parse(typed: &[OsString]) -> Result<Cli, u8> {
    let command = Cli::command().color(help_color(typed));
    let parsed = command
        .try_get_matches_from(typed)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    match parsed {
        Ok(cli) => match cli.check().and_then(|()| all_tenants_arrived(&cli, typed)) {
            Ok(()) => Ok(cli),
            Err(why) => {
                complain(&why);
                Err(USAGE)
            }
        },
        Err(e)
            if !e.use_stderr()
                || e.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            // Help that nobody reads to the end is no failure.
            let _ = e.print();
            Err(if e.use_stderr() { USAGE } else { 0 })
        }
        Err(e) => {
            complain(&args::one_line(&e));
            Err(USAGE)
        }
    }
}

/// `--color` is wanted before the rest is understood: for help and its colours.
fn help_color(typed: &[OsString]) -> clap::ColorChoice {
    let mut words = typed.iter().filter_map(|a| a.to_str());
    let value = words.find_map(|word| {
        if word == "--color" {
            Some(None)
        } else {
            word.strip_prefix("--color=").map(Some)
        }
    });
    match value.and_then(|v| v.or_else(|| words.next())) {
        Some("always") => clap::ColorChoice::Always,
        Some("never") => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    }
}

/// clap forgets the values before a command's name where there are some behind it. A tenant left
/// out without a word would be a bad surprise.
fn all_tenants_arrived(cli: &Cli, typed: &[OsString]) -> Result<(), String> {
    let words = typed.iter().filter_map(|a| a.to_str());
    let given = words
        .filter(|w| *w == "--tenant" || w.starts_with("--tenant="))
        .count();
    if given <= cli.global.tenants.len() {
        Ok(())
    } else {
        Err("--tenant stands before and behind the command: put all of them behind it".to_owned())
    }
}

fn start(cli: &Cli) -> u8 {
    let json_logs = Environment::of_process()
        .and_then(|env| logs::format(&cli.global, &env))
        .is_ok_and(|f| f == LogFormat::Json);
    let mut logging = false;
    match prepare_and_run(cli, &mut logging) {
        Ok(code) => code,
        Err(e) => {
            report_error(&e, json_logs && logging);
            e.exit_code()
        }
    }
}

/// One line, in the form in which whoever reads the logs expects it.
fn report_error(e: &Error, as_log: bool) {
    if as_log {
        tracing::error!("{e}");
    } else {
        complain(&e.to_string());
    }
}

fn prepare_and_run(cli: &Cli, logging: &mut bool) -> Result<u8> {
    // They are about the program alone: no configuration, however wrong, keeps anybody from reading
    // its manual.
    match &cli.command {
        Command::Man(args) => return manual::man(&mut Output::new(cli.global.color), &args.out),
        Command::Completions(args) => {
            return manual::completions(&mut Output::new(cli.global.color), args.shell);
        }
        _ => {}
    }
    let env = Environment::of_process()?;
    let format = logs::format(&cli.global, &env)?;
    let canvas =
        bars::canvas(!cli.global.quiet && format == LogFormat::Text && draws_bars(&cli.command));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::local("cannot start the runtime", e))?;
    let traces = if makes_passes(&cli.command) {
        Traces::start()
    } else {
        Ok(None)
    };
    logs::start(
        &cli.global,
        &env,
        &canvas,
        traces.as_ref().ok().and_then(|t| Some(t.as_ref()?.layer())),
    )?;
    *logging = true;
    let traces = traces.unwrap_or_else(|why| {
        tracing::warn!("{why}");
        None
    });
    let settings = Settings::resolve(&Layers::read(
        cli.global.config.clone(),
        env,
        cli.flag_values(),
    )?)?;
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let out = Output::new(cli.global.color);
    let mut app = App {
        global: &cli.global,
        settings,
        out,
        flags: cli.flag_values(),
        shard: cli.shard(|name| std::env::var(name).ok())?,
        clock: Arc::new(SystemClock::default()),
        canvas,
        json_logs: format == LogFormat::Json,
        traces,
    };
    let code = {
        // Spans without one around them begin in what is polled here, on this thread.
        let _parent = app.traces.as_ref().map(Traces::attach);
        runtime.block_on(commands::execute(&mut app, &cli.command))
    };
    if let Some(traces) = &app.traces {
        let limit = if matches!(cli.command, Command::Watch(_)) {
            otel::LAST_FLUSH_OF_SERVICE
        } else {
            otel::LAST_FLUSH
        };
        runtime.block_on(traces.finish(limit));
    }
    // A thread that still waits for a disk or a socket must not hold up the exit.
    runtime.shutdown_background();
    code.and_then(|code| app.out.flush().map(|()| code))
}

/// Only passes have spans.
fn makes_passes(command: &Command) -> bool {
    match command {
        Command::Run(args) => !args.dry_run,
        Command::Watch(_) => true,
        _ => false,
    }
}

fn draws_bars(command: &Command) -> bool {
    matches!(command, Command::Run(_) | Command::Demo(_))
}
