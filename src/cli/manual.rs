//! Man pages and shell completions, generated from the definition that parses the command line.

use std::path::Path;

use crate::{Error, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::output::Output;

/// Writes a page for the program and for each command: `icepack.1`, `icepack-run.1`, …
pub fn man(mut out: Output, dir: &Path) -> Result<u8> {
    let failed = |e: std::io::Error| {
        Error::local(
            format!("cannot write man pages into `{}`", dir.display()),
            e,
        )
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    // `help` has a subcommand for each command, and nothing to say of them.
    let mut command = Cli::command()
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .mut_subcommands(|c| c.disable_help_subcommand(true));
    command.build();
    clap_mangen::generate_to(command, dir).map_err(failed)?;
    out.line(&format!(
        "man pages are in {}; try: man -l {}",
        dir.display(),
        dir.join("icepack.1").display()
    ))?;
    out.flush().map(|()| 0)
}

/// Prints the completions of a shell.
pub fn completions(mut out: Output, shell: Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "icepack", &mut script);
    out.line(String::from_utf8_lossy(&script).trim_end())?;
    out.flush().map(|()| 0)
}
