//! Reads the command line as typed.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};

use super::args::Cli;
use super::output::complain;

/// The exit code of a command line that is wrong.
const USAGE: u8 = 2;

/// The command line, or the exit code after help, version or a complaint.
pub fn parse(typed: &[OsString]) -> Result<Cli, u8> {
    let parsed = Cli::command()
        .color(help_color(typed))
        .try_get_matches_from(typed)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let wrong = match parsed {
        Ok(cli) => match cli.check().and_then(|()| all_tenants_arrived(&cli, typed)) {
            Ok(()) => return Ok(cli),
            Err(why) => why,
        },
        Err(e) => {
            let is_error = e.use_stderr();
            let is_help =
                e.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
            if !is_error || is_help {
                // Help that nobody reads to the end is no failure.
                let _ = e.print();
                return Err(if is_error { USAGE } else { 0 });
            }
            one_line(&e)
        }
    };
    complain(&wrong);
    Err(USAGE)
}

/// `--color`, which clap needs for its help before it has understood the command line.
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

/// clap forgets the values before a command's name where there are some behind it. No tenant may be
/// left out silently.
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

/// clap's complaint in one line: its first paragraph and its tips.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|l| !l.starts_with("Usage:") && !l.starts_with("For more information"));
    let mut parts: Vec<String> = Vec::new();
    for line in lines.filter(|l| !l.is_empty()) {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        match line.strip_prefix("tip: ") {
            Some(tip) => parts.push(format!("({tip})")),
            None => parts.push(line.to_owned()),
        }
    }
    format!("{}; `icepack --help` says what there is", parts.join(" "))
}
