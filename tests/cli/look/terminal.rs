//! A pass on a terminal and in a pipe.

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use super::status::{icepack, settings, troubled};
use crate::support::job;

fn demo() -> TempDir {
    let dir = TempDir::new().unwrap();
    let ran = job::icepack(&[])
        .current_dir(dir.path())
        .args([
            "-q", "demo", "--store", "data", "--files", "40", "--rows", "1500",
        ])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", job::text(&ran.stderr));
    dir
}

/// What a terminal of 100 columns shows of a command.
fn on_a_terminal(dir: &Path, envs: &[(&'static str, String)], args: &[&str]) -> String {
    ending_on_a_terminal(dir, envs, 0, args)
}

/// The same of a command that ends with `code`.
fn ending_on_a_terminal(
    dir: &Path,
    envs: &[(&'static str, String)],
    code: i32,
    args: &[&str],
) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/on_terminal.py");
    let mut python = job::python();
    python
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_icepack"))
        .args(args)
        .current_dir(dir)
        .envs(envs.iter().map(|(k, v)| (k, v)));
    for (name, _) in std::env::vars().filter(|(name, _)| {
        name.starts_with("ICEPACK_") || name.starts_with("AWS_") || name == "NO_COLOR"
    }) {
        python.env_remove(name);
    }
    let ran = python.env("TERM", "xterm-256color").output().unwrap();
    assert_eq!(
        ran.status.code(),
        Some(code),
        "{}{}",
        job::text(&ran.stdout),
        job::text(&ran.stderr)
    );
    job::text(&ran.stdout)
}

/// What stays on the screen: without what moves, clears and colours.
fn lines(shown: &str) -> Vec<String> {
    let mut text = String::new();
    let mut rest = shown;
    while let Some((before, after)) = rest.split_once('\x1b') {
        text.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic());
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    text.push_str(rest);
    // A bar is drawn over the last one.
    let last = |line: &str| {
        line.trim_end_matches('\r')
            .rsplit('\r')
            .next()
            .map(str::to_owned)
    };
    text.split('\n').filter_map(last).collect()
}

fn piped(dir: &Path, envs: &[(&'static str, String)], args: &[&str]) -> Output {
    let ran = job::icepack(envs)
        .env_remove("NO_COLOR")
        .current_dir(dir)
        .args(args)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", job::text(&ran.stderr));
    ran
}

/// Colours, and nothing else that moves or clears.
fn has_colour(text: &str) -> bool {
    text.contains("\x1b[38;") || text.contains("\x1b[3") && text.contains("\x1b[39m")
}

#[test]
fn a_terminal_shows_a_bar_for_each_tenant_and_a_total_and_then_a_table() {
    let dir = demo();
    let shown = on_a_terminal(
        dir.path(),
        &[],
        &["run", "--store", "data", "--archive", "cold"],
    );
    assert!(
        !shown.contains("INFO"),
        "log lines run over the bars: {shown:?}"
    );
    for word in [
        "acme",
        "tenants",
        "rows/s",
        "ETA",
        "MiB",
        "[==",
        "\x1b[",
        "tenant  ",
        "total",
        "requests:",
    ] {
        assert!(shown.contains(word), "{word:?} is missing in {shown:?}");
    }
    assert!(has_colour(&shown), "{shown:?}");
    // The bars are gone when the table stands.
    let table = shown.rsplit_once("tenant  ").unwrap().1;
    assert!(!table.contains("ETA"), "{table:?}");
}

#[test]
fn one_error_is_told_once_on_a_terminal_and_logged_where_a_log_is_kept() {
    let dir = troubled();
    let run = ["run", "--tenant", "odd"];
    let why = "no file of tenant `odd` can be dated";
    let settings = settings();
    let shown = ending_on_a_terminal(dir.path(), &settings, 1, &run);
    // The lines of a sentence are put together again.
    let whole = lines(&shown).join(" ");
    assert_eq!(whole.matches(why).count(), 1, "{shown}");
    assert!(
        whole.contains("icepack: 1 of 1 tenant failed: odd"),
        "{shown}"
    );
    for more in [&["-v"][..], &["--log-level", "error"]] {
        let shown = ending_on_a_terminal(dir.path(), &settings, 1, &[&run, more].concat());
        assert!(lines(&shown).join(" ").contains("ERROR"), "{shown}");
    }
    let piped = icepack(dir.path(), &run);
    let (out, err) = (job::text(&piped.stdout), job::text(&piped.stderr));
    assert!(
        out.contains(why) && err.contains("ERROR") && err.contains(why),
        "{out}{err}"
    );
    let json = icepack(dir.path(), &[&run[..], &["--log-format", "json"]].concat());
    let err = job::text(&json.stderr);
    assert!(
        err.contains(r#""level":"ERROR""#) && err.contains(why),
        "{err}"
    );
}

#[test]
fn nothing_is_wider_than_a_narrow_terminal() {
    let dir = troubled();
    std::fs::rename(
        dir.path().join("data/odd"),
        dir.path().join(format!("data/{}", "odd-".repeat(30))),
    )
    .unwrap();
    for columns in [60, 80, 120] {
        let mut envs = settings();
        envs.push(("TERMINAL_COLUMNS", columns.to_string()));
        let commands = [
            &["status"][..],
            &["status", "--all", "--sort", "bytes"],
            &["plan", "--tenant", "[a-n]*"],
            &["doctor"],
        ];
        for args in commands {
            let shown = lines(&on_a_terminal(dir.path(), &envs, args));
            let wide = shown.iter().filter(|l| l.chars().count() > columns);
            // Paths are not broken: they are copied.
            let wide: Vec<_> = wide.filter(|l| l.trim().contains(' ')).collect();
            assert!(wide.is_empty(), "{columns} {args:?}: {wide:#?}");
        }
    }
}

#[test]
fn bars_fit_a_narrow_terminal() {
    let dir = demo();
    for columns in [60, 80, 120] {
        let data = format!("data-{columns}");
        let copied = std::process::Command::new("cp")
            .args(["-r", "data", &data])
            .current_dir(dir.path())
            .status();
        assert!(copied.unwrap().success());
        let envs = [("TERMINAL_COLUMNS", columns.to_string())];
        let shown = on_a_terminal(dir.path(), &envs, &["run", "--store", &data]);
        // Each state of the bars is drawn over the last one, and each bar is filled up with blanks.
        let drawn = lines(&shown.replace('\r', "\n"));
        let states: Vec<Vec<char>> = drawn
            .iter()
            .filter(|l| l.contains("] "))
            .map(|l| l.trim_end().chars().collect())
            .collect();
        assert!(!states.is_empty(), "{shown:?}");
        // What is left over from a line that is too long has no bar.
        let rows = states.iter().flat_map(|state| state.chunks(columns));
        let odd: Vec<String> = rows
            .filter(|r| !r.contains(&'['))
            .map(String::from_iter)
            .collect();
        assert!(odd.is_empty(), "{columns}: {odd:#?}");
    }
}

#[test]
fn a_pipe_shows_the_table_alone() {
    let dir = demo();
    // Or there would be a warning that the rows of tenant `system` are kept.
    let ran = piped(
        dir.path(),
        &[("ICEPACK_RETENTION_DROP", "true".to_owned())],
        &["run", "--store", "data", "--log-level", "warn"],
    );
    let (out, err) = (job::text(&ran.stdout), job::text(&ran.stderr));
    assert!(
        out.starts_with("tenant  ") && !out.contains('\x1b') && err.is_empty(),
        "{out:?}{err:?}"
    );
}

#[test]
fn colours_follow_the_flag_then_no_color_then_the_terminal() {
    let dir = demo();
    piped(dir.path(), &[], &["-q", "run", "--store", "data"]);
    let doctor = ["-q", "doctor", "--store", "data"];
    let with = |more: &[&'static str]| [&doctor[..], more].concat();
    let no_color = [("NO_COLOR", "1".to_owned())];
    assert!(has_colour(&on_a_terminal(dir.path(), &[], &doctor)));
    assert!(!has_colour(&on_a_terminal(
        dir.path(),
        &[],
        &with(&["--color", "never"])
    )));
    assert!(!has_colour(&on_a_terminal(dir.path(), &no_color, &doctor)));
    assert!(has_colour(&on_a_terminal(
        dir.path(),
        &no_color,
        &with(&["--color", "always"])
    )));
    assert!(has_colour(&job::text(
        &piped(dir.path(), &[], &with(&["--color", "always"])).stdout
    )));
    // Only the flag forces them into a pipe: what other programs take for a wish is none here.
    let forced = [
        ("CLICOLOR_FORCE", "1".to_owned()),
        ("FORCE_COLOR", "1".to_owned()),
    ];
    assert!(!has_colour(&job::text(
        &piped(dir.path(), &forced, &doctor).stdout
    )));
}

#[test]
fn sizes_are_words_for_people_and_numbers_for_programs() {
    let dir = demo();
    let text = job::text(&piped(dir.path(), &[], &["-q", "status", "--store", "data"]).stdout);
    assert!(text.contains(" MiB"), "{text}");
    let document: serde_json::Value = serde_json::from_slice(
        &piped(
            dir.path(),
            &[],
            &["-q", "status", "--store", "data", "--json"],
        )
        .stdout,
    )
    .unwrap();
    assert!(document["tenants"][0]["raw_bytes"].is_u64(), "{document}");
}

#[test]
fn each_command_has_examples_a_page_and_completions() {
    let dir = TempDir::new().unwrap();
    let icepack = |args: &[&str]| job::text(&piped(dir.path(), &[], args).stdout);
    let help = icepack(&["--help"]);
    let commands: Vec<&str> = help
        .split_once("Commands:")
        .unwrap()
        .1
        .lines()
        .skip(1)
        .take_while(|l| !l.is_empty())
        .collect();
    // What is indented further goes on with the line above.
    let commands: Vec<&str> = commands
        .into_iter()
        .filter_map(|l| {
            l.strip_prefix("  ")
                .filter(|l| !l.starts_with(' '))
                .and_then(|l| l.split_whitespace().next())
        })
        .collect();
    let commands: Vec<&str> = commands.into_iter().filter(|c| *c != "help").collect();
    assert!(commands.len() >= 14, "{commands:?}");
    // A configuration that cannot be read keeps nobody from the manual.
    std::fs::write(dir.path().join("icepack.toml"), "nonsense").unwrap();
    icepack(&["man", "--out", "man"]);
    for command in &commands {
        let text = icepack(&[command, "--help"]);
        assert_eq!(icepack(&["help", command]), text);
        assert!(text.contains("Example") || *command == "config", "{text}");
        let page =
            std::fs::read_to_string(dir.path().join(format!("man/icepack-{command}.1"))).unwrap();
        assert!(
            page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"),
            "{page}"
        );
    }
    for page in std::fs::read_dir(dir.path().join("man")).unwrap() {
        let page = page.unwrap().file_name();
        assert!(!page.to_string_lossy().contains("help"), "{page:?}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = icepack(&["completions", shell]);
        assert!(
            commands.iter().all(|c| script.contains(c)) && script.contains("max-duration"),
            "{shell}: {script}"
        );
    }
    let bash = icepack(&["completions", "bash"]);
    std::fs::write(
        dir.path().join("icepack.bash"),
        format!("{bash}\ncomplete -p icepack\n"),
    )
    .unwrap();
    let ran = std::process::Command::new("bash")
        .arg(dir.path().join("icepack.bash"))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", job::text(&ran.stderr));
}
