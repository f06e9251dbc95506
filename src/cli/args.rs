//! The command line as typed: read and checked for form only. What it means is for
//! [`crate::settings`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tracing_subscriber::EnvFilter;

use crate::Error;
use crate::settings::{self, Environment, FlagValue};
use crate::telemetry::logs::{self, LogFormat};
use icepack_core::model::names::Tenant;
use icepack_core::model::restore::Tier;
use icepack_core::model::shard::Shard;

use super::{examples, shard};

/// Packs small Parquet files into sorted snapshots and puts the old rows on ice.
#[derive(Debug, Parser)]
#[command(name = "icepack", bin_name = "icepack", version, after_help = examples::TOP, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The seed of `demo`, where no other is given.
pub const DEMO_SEED: u64 = 7;

/// Flags that every command takes, before or after its name.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for every command")]
pub struct Global {
    /// The configuration file [default: ./icepack.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The store: s3://bucket/prefix, a directory, file:///dir or memory://
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// Where expired rows go: an address like --store's, outside the store
    #[arg(long, global = true, value_name = "URL")]
    pub archive: Option<String>,
    /// Only this tenant: a name or a glob; may be given more than once
    #[arg(long = "tenant", global = true, value_name = "NAME")]
    pub tenants: Vec<String>,
    /// Print the result as one JSON document
    #[arg(long, global = true)]
    pub json: bool,
    /// How logs are written to stderr [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter like icepack=debug [default:
    /// info; beside bars warn]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// When colours are used [default: auto, on a terminal without NO_COLOR]
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    pub color: ColorChoice,
    /// Show no bars, log only warnings and errors, and print nothing of a run that finds nothing to
    /// do
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log more: -v is --log-level info, -vv is debug
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with_all = ["quiet", "log_level"])]
    pub verbose: u8,
}

impl Global {
    /// How logs are written: by the flag, else by the environment, else as text.
    pub fn log_format(&self, env: &Environment) -> crate::Result<LogFormat> {
        match (self.log_format, env.get("ICEPACK_LOG_FORMAT")) {
            (Some(format), _) => Ok(format),
            (None, None | Some("text")) => Ok(LogFormat::Text),
            (None, Some("json")) => Ok(LogFormat::Json),
            (None, Some(other)) => Err(Error::Usage(format!(
                "environment ICEPACK_LOG_FORMAT: `{other}` is not a log format: use text or json"
            ))),
        }
    }

    /// What is logged: by the flags, else by the environment. Else warnings, where a person sees the
    /// bars on a terminal, and what a pass does, where a log is kept. What somebody who reads the
    /// report is told there (`told`) is logged only where it is asked for.
    pub fn log_filter(
        &self,
        env: &Environment,
        is_terminal: bool,
        told: bool,
    ) -> crate::Result<EnvFilter> {
        let is_default =
            self.log_level.is_none() && self.verbose == 0 && env.get("ICEPACK_LOG").is_none();
        let filter = self.level(env, is_terminal)?;
        Ok(if told && (is_default || self.quiet) {
            logs::without_told(filter)
        } else {
            filter
        })
    }

    fn level(&self, env: &Environment, is_terminal: bool) -> crate::Result<EnvFilter> {
        match (&self.log_level, env.get("ICEPACK_LOG")) {
            (Some(level), _) => logs::filter(level, "--log-level"),
            (None, _) if self.quiet => logs::filter("warn", "--quiet"),
            (None, _) if self.verbose > 1 => logs::filter("debug", "-vv"),
            (None, _) if self.verbose > 0 => logs::filter("info", "-v"),
            (None, Some(level)) => logs::filter(level, "environment ICEPACK_LOG"),
            (None, None) if is_terminal => logs::filter("warn", "default"),
            (None, None) => logs::filter("info", "default"),
        }
    }
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make one pass: compact files, archive and expire rows, clean up
    #[command(after_help = examples::RUN)]
    Run(RunArgs),
    /// Show what a pass would do, and why; the same as run --dry-run
    #[command(after_help = examples::PLAN)]
    Plan(PlanArgs),
    /// Make passes at an interval until a signal comes
    #[command(after_help = examples::WATCH)]
    Watch(WatchArgs),
    /// Show how the tenants stand: files, rows, what waits, failed or is held
    #[command(after_help = examples::STATUS)]
    Status(StatusArgs),
    /// List the files that a reader should read, one per line
    #[command(after_help = examples::LS)]
    Ls(LsArgs),
    /// Check that the store holds what the manifests say
    #[command(after_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Bring archived rows back, as raw files of a tenant
    #[command(after_help = examples::RESTORE)]
    Restore(RestoreArgs),
    /// Check that store and archive are safe to use; writes and removes small objects
    #[command(after_help = examples::DOCTOR)]
    Doctor,
    /// Write one HTML page that shows everything at a glance and needs no network
    #[command(after_help = examples::REPORT)]
    Report(ReportArgs),
    /// Look at a store and write a commented icepack.toml for it
    #[command(after_help = examples::INIT)]
    Init(InitArgs),
    /// Write realistic raw events to a store, to try it on
    #[command(after_help = examples::DEMO)]
    Demo(DemoArgs),
    /// Show the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Write man pages, made from this help
    #[command(after_help = examples::MAN)]
    Man(ManArgs),
    /// Print completions for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every setting, its value, and where it came from
    Show,
}

/// Settings that may be changed for one pass.
#[derive(Debug, Args)]
pub struct PassFlags {
    /// How files are chosen for a merge, for every tenant: size, time or full
    #[arg(long, value_name = "STRATEGY")]
    pub strategy: Option<String>,
    /// Memory that the data may take, like 512MiB
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<String>,
    /// Begin nothing new after this long, like 50m
    #[arg(long, value_name = "DURATION")]
    pub max_duration: Option<String>,
    /// Refuse a tenant if the pass would expire more than this percentage of its rows; 100 refuses
    /// none
    #[arg(long, value_name = "PERCENT")]
    pub max_expire_percent: Option<String>,
    /// Take only shard i of n, counted from 0 [default: from JOB_COMPLETION_INDEX and JOB_COMPLETIONS,
    /// or AWS Batch's, else 0/1]
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
}

/// How a plan is told.
#[derive(Debug, Args)]
pub struct PlanFlags {
    /// Show the reason for every file of this tenant (a name or a glob), or of every tenant; with run
    /// only beside --dry-run
    #[arg(long, value_name = "TENANT", num_args = 0..=1, default_missing_value = "*")]
    pub explain: Option<String>,
    /// Show every tenant in full, however many there are; with run only beside --dry-run
    #[arg(long)]
    pub all: bool,
}

/// What the table of `status` is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SortBy {
    /// From a to z.
    Name,
    /// Most raw files first.
    Raw,
    /// Most bytes first, of raw files and snapshots together.
    Bytes,
    /// Most rows first, of snapshots.
    Rows,
    /// The oldest raw file that waits first.
    Oldest,
    /// Longest overdue first.
    Overdue,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Sort the table, the largest first: by name, raw (files), bytes, rows, oldest (raw file) or
    /// overdue [default: name; of many tenants, what needs a look first]
    #[arg(long, value_name = "COLUMN", hide_possible_values = true)]
    pub sort: Option<SortBy>,
    /// Show every tenant; else, of more than 20, those that need a look or have something to do, or
    /// the first 20 by --sort
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub plan: PlanFlags,
    #[command(flatten)]
    pub pass: PassFlags,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Only show what would be done; nothing is written
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub plan: PlanFlags,
    /// Put the report into the store after the pass, as _icepack/report.html
    #[arg(long, conflicts_with = "dry_run")]
    pub report: bool,
    #[command(flatten)]
    pub pass: PassFlags,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The file to write; an older report is replaced; - is standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Put the page into the store, as _icepack/report.html
    #[arg(long, conflicts_with = "out")]
    pub publish: bool,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// The file to write, which must not exist; - is standard output
    #[arg(long, value_name = "FILE", default_value = settings::DEFAULT_FILE)]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory for the pages; it is made if it does not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The time from the beginning of a pass to that of the next, like 15m [default: 1h]
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// Serve /healthz and /metrics at this address, like 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    #[command(flatten)]
    pub pass: PassFlags,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Leave out files without rows at or after this time: 2026-04-27 (midnight, UTC) or
    /// 2026-04-27T13:45:07Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<DateTime<Utc>>,
    /// Leave out files without rows before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<DateTime<Utc>>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Read every row back and compare fingerprints
    #[arg(long)]
    pub deep: bool,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Restore no row before this time: 2026-04-27 (midnight, UTC) or 2026-04-27T13:45:07Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<DateTime<Utc>>,
    /// Restore only rows before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<DateTime<Utc>>,
    /// Where the rows go: an address like --store's [default: the store]
    #[arg(long, value_name = "URL")]
    pub into: Option<String>,
    /// The tenant that the rows come back as [default: restored-NAME]
    #[arg(long = "as", value_name = "NAME")]
    pub as_tenant: Option<String>,
    /// How fast objects in GLACIER or DEEP_ARCHIVE are thawed: Bulk, Standard or Expedited;
    /// DEEP_ARCHIVE has no Expedited
    #[arg(long, value_name = "TIER", default_value_t = Tier::Bulk)]
    pub tier: Tier,
    /// How many days thawed objects stay readable
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub days: u16,
    /// How long the restored rows do not expire
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = duration)]
    pub hold: Duration,
    /// Wait until everything is thawed, and go on; else the command asks for the thaw and ends with
    /// exit code 6, and the same command again goes on
    #[arg(long)]
    pub wait: bool,
    /// How often --wait looks
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration, requires = "wait")]
    pub poll_interval: Duration,
    /// Only show what would be read, thawed and paid for
    #[arg(long)]
    pub dry_run: bool,
    /// Restore the rows once more, though they were restored before and may still be there
    #[arg(long)]
    pub again: bool,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Files of the first tenant; the others have fewer, in proportion
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub files: u32,
    /// Events per file of the first tenant; the others have fewer, in proportion
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rows: u32,
    /// Only these tenants: names of the usual ones (acme, globex, initech, system, umbrella), or
    /// NAME=FILESxROWS
    #[arg(long = "tenants", value_name = "NAMES", value_delimiter = ',')]
    pub demo_tenants: Vec<String>,
    /// Days that the events spread over; tenant system always has 60
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
    /// The same seed and end give the same files
    #[arg(long, default_value_t = DEMO_SEED)]
    pub seed: u64,
    /// The time of the last event [default: a minute ago]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub end: Option<DateTime<Utc>>,
    /// Add files to tenants that already have some
    #[arg(long)]
    pub force_add: bool,
}

impl Cli {
    /// The settings that flags give.
    pub fn flag_values(&self) -> Vec<FlagValue> {
        let mut values = Vec::new();
        let mut add = |flag, path, value: &Option<String>| {
            values.extend(value.clone().map(|value| FlagValue { flag, path, value }))
        };
        add("--store", "store", &self.global.store);
        add("--archive", "archive.url", &self.global.archive);
        if let Some(pass) = self.pass() {
            add("--strategy", "compaction.strategy", &pass.strategy);
            add("--memory-limit", "memory_limit", &pass.memory_limit);
            add("--max-duration", "max_duration", &pass.max_duration);
            add(
                "--max-expire-percent",
                "retention.max_expire_percent",
                &pass.max_expire_percent,
            );
        }
        match &self.command {
            Command::Watch(args) => add("--interval", "interval", &args.interval),
            Command::Run(args) if args.report => {
                add("--report", "report", &Some("true".to_owned()))
            }
            _ => {}
        }
        values
    }

    /// Whether bars show how far it is.
    pub fn has_bars(&self) -> bool {
        matches!(self.command, Command::Run(_) | Command::Demo(_))
    }

    /// Whether what went wrong with a tenant is in the text that it prints.
    pub fn tells_errors(&self) -> bool {
        matches!(self.command, Command::Run(_) | Command::Restore(_)) && !self.global.json
    }

    /// Whether it makes passes, which have spans.
    pub fn makes_passes(&self) -> bool {
        match &self.command {
            Command::Run(args) => !args.dry_run,
            Command::Watch(_) => true,
            _ => false,
        }
    }

    /// The part of the work that is this process's.
    pub fn shard(&self, variable: impl Fn(&str) -> Option<String>) -> crate::Result<Shard> {
        self.pass().map_or(Ok(Shard::WHOLE), |pass| {
            shard::resolve(pass.shard, variable)
        })
    }

    fn pass(&self) -> Option<&PassFlags> {
        match &self.command {
            Command::Run(args) => Some(&args.pass),
            Command::Plan(args) => Some(&args.pass),
            Command::Watch(args) => Some(&args.pass),
            _ => None,
        }
    }

    /// What clap's rules cannot express. The error is a sentence.
    pub fn check(&self) -> Result<(), String> {
        match &self.command {
            Command::Run(args) if args.plan.explain.is_some() && !args.dry_run => {
                Err("--explain goes with --dry-run: say `icepack plan --explain`".to_owned())
            }
            Command::Run(args) if args.plan.all && !args.dry_run => {
                Err("--all goes with --dry-run: say `icepack plan --all`".to_owned())
            }
            Command::Restore(_) if self.global.tenants.is_empty() => Err("say whose rows are to \
                                                                          be restored: --tenant \
                                                                          NAME, or --tenant '*' \
                                                                          for everybody's"
                .to_owned()),
            Command::Restore(RestoreArgs {
                as_tenant: Some(name),
                ..
            }) => Tenant::parse(name)
                .map(drop)
                .map_err(|e| format!("--as: {e}")),
            Command::Restore(RestoreArgs {
                from: Some(from),
                to: Some(to),
                ..
            }) if from >= to => Err(format!(
                "--from {from} is not before --to {to}: no row can match"
            )),
            Command::Ls(LsArgs {
                from: Some(from),
                to: Some(to),
            }) if from >= to => Err(format!(
                "--from {from} is not before --to {to}: no file can match"
            )),
            Command::Report(args) if args.publish && !self.global.tenants.is_empty() => Err(
                "--publish goes without --tenant: the report in the store is of every tenant"
                    .to_owned(),
            ),
            Command::Demo(_) if !self.global.tenants.is_empty() => Err("--tenant chooses among \
                                                                        tenants that exist: demo \
                                                                        takes --tenants NAME,NAME"
                .to_owned()),
            _ => Ok(()),
        }
    }
}

/// A day or a time, UTC unless it says otherwise.
fn time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .map_err(|_| "use a day like 2026-04-27 or a time like 2026-04-27T13:45:07Z".to_owned())?;
    Ok(day.and_time(NaiveTime::MIN).and_utc())
}

/// A duration that is not zero.
fn duration(text: &str) -> Result<Duration, String> {
    settings::parse_duration(text)
}

#[cfg(test)]
mod tests;
