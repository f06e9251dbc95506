//! The command line: parse, resolve settings, call the library, render. Everything that decides
//! anything is in the library.

mod app;
mod args;
mod bars;
mod commands;
mod demo;
mod examples;
mod init;
mod manual;
mod output;
mod parse;
mod pass;
mod render;
mod report;
mod restore;
mod shard;
mod signals;
mod watch;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::SystemClock;
use crate::settings::{Environment, Layers, Settings};
use crate::telemetry::logs::{self, LogFormat};
use crate::telemetry::otel::{self, Traces};
use crate::{Error, Result};
use indicatif::MultiProgress;
use tokio::runtime::Runtime;

use app::App;
use args::{Cli, Command};
use output::{Output, complain, use_color};

/// Runs the command line `typed`. The result is the exit code.
pub fn run(typed: &[OsString]) -> u8 {
    let cli = match parse::parse(typed) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let out = Output::new(cli.global.color);
    let code = match &cli.command {
        // No configuration, however wrong, keeps anybody from reading the manual.
        Command::Man(args) => manual::man(out, &args.out),
        Command::Completions(args) => manual::completions(out, args.shell),
        _ => Process::start(&cli).map(|process| process.run(&cli, out)),
    };
    code.unwrap_or_else(|e| {
        complain(&e.to_string());
        e.exit_code()
    })
}

/// How long the threads of a command that is done may take to end.
const LAST_THREADS: Duration = Duration::from_millis(250);

/// What a command runs in.
struct Process {
    runtime: Runtime,
    env: Environment,
    canvas: MultiProgress,
    json_logs: bool,
    traces: Option<Traces>,
}

impl Process {
    /// From here on there are logs.
    fn start(cli: &Cli) -> Result<Self> {
        let env = Environment::of_process()?;
        let format = cli.global.log_format(&env)?;
        let is_terminal = io::stderr().is_terminal();
        let is_read = is_terminal && format == LogFormat::Text;
        let filter = cli.global.log_filter(
            &env,
            is_read && cli.has_bars(),
            is_read && io::stdout().is_terminal() && cli.tells_errors(),
        )?;
        let json_logs = format == LogFormat::Json;
        let canvas = bars::canvas(cli.has_bars() && !cli.global.quiet && !json_logs);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::local("cannot start the runtime", e))?;
        let traces = if cli.makes_passes() {
            Traces::start()
        } else {
            Ok(None)
        };
        let layer = traces.as_ref().ok().and_then(|t| Some(t.as_ref()?.layer()));
        let is_colored = use_color(cli.global.color, is_terminal);
        logs::start(format, filter, is_colored, &canvas, layer)?;
        Ok(Self {
            runtime,
            env,
            canvas,
            json_logs,
            traces: traces.unwrap_or_else(|why| {
                tracing::warn!("{why}");
                None
            }),
        })
    }

    fn run(self, cli: &Cli, out: Output) -> u8 {
        let json_logs = self.json_logs;
        self.execute(cli, out).unwrap_or_else(|e| {
            if json_logs {
                tracing::error!("{e}");
            } else {
                complain(&e.to_string());
            }
            e.exit_code()
        })
    }

    fn execute(self, cli: &Cli, out: Output) -> Result<u8> {
        let layers = Layers::read(cli.global.config.clone(), self.env, cli.flag_values())?;
        let settings = Settings::resolve(&layers)?;
        for warning in settings.warnings().iter().chain(&settings.missing_places()) {
            tracing::warn!("{warning}");
        }
        let mut app = App {
            global: &cli.global,
            settings,
            out,
            flags: cli.flag_values(),
            shard: cli.shard(|name| std::env::var(name).ok())?,
            clock: Arc::new(SystemClock::default()),
            canvas: self.canvas,
            json_logs: self.json_logs,
            traces: self.traces,
        };
        let code = {
            // Spans without one around them begin in what is polled here, on this thread.
            let _parent = app.traces.as_ref().map(Traces::attach);
            self.runtime
                .block_on(commands::execute(&mut app, &cli.command))
        };
        if let Some(traces) = &app.traces {
            let limit = match cli.command {
                Command::Watch(_) => otel::LAST_FLUSH_OF_SERVICE,
                _ => otel::LAST_FLUSH,
            };
            self.runtime.block_on(traces.finish(limit));
        }
        // A thread that still waits for a disk or a socket must not hold up the exit. The others are
        // joined: glibc before 2.38 can read the freed stack of a thread that ends while it is
        // detached (its bug 19951), and the process would die by a signal after a sound pass.
        self.runtime.shutdown_timeout(LAST_THREADS);
        code.and_then(|code| app.out.flush().map(|()| code))
    }
}
