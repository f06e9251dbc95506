use super::super::parse::one_line;
use super::*;
use clap::CommandFactory;

fn parse(args: &[&str]) -> Result<Cli, String> {
    let cli = Cli::try_parse_from(["icepack"].iter().chain(args)).map_err(|e| one_line(&e))?;
    cli.check().map(|()| cli)
}

#[test]
fn the_definition_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn global_flags_go_before_and_after_the_command() {
    for args in [
        ["--store", "/d", "--json", "-q", "run"],
        ["run", "--store", "/d", "--json", "-q"],
        ["--store", "/d", "run", "--json", "-q"],
    ] {
        let cli = parse(&args).unwrap();
        assert_eq!(
            (
                cli.global.store.as_deref(),
                cli.global.json,
                cli.global.quiet
            ),
            (Some("/d"), true, true),
            "{args:?}"
        );
    }
    let cli = parse(&["config", "show", "--json"]).unwrap();
    assert!(cli.global.json);
}

#[test]
fn tenants_add_up() {
    assert_eq!(
        parse(&["--tenant", "a", "--tenant", "b*", "status"])
            .unwrap()
            .global
            .tenants,
        ["a", "b*"]
    );
    assert_eq!(
        parse(&["status", "--tenant", "a", "--tenant", "b*"])
            .unwrap()
            .global
            .tenants,
        ["a", "b*"]
    );
}

#[test]
fn flags_that_are_settings_are_handed_on() {
    let cli = parse(&[
        "run",
        "--strategy",
        "full",
        "--memory-limit",
        "1GiB",
        "--max-duration",
        "5m",
        "--archive",
        "/c",
        "--max-expire-percent",
        "60",
    ])
    .unwrap();
    let paths: Vec<_> = cli.flag_values().iter().map(|f| f.path).collect();
    assert_eq!(
        paths,
        [
            "archive.url",
            "compaction.strategy",
            "memory_limit",
            "max_duration",
            "retention.max_expire_percent"
        ]
    );
    assert_eq!(
        parse(&["plan", "--strategy", "full"])
            .unwrap()
            .flag_values()
            .len(),
        1
    );
    let cli = parse(&[
        "watch",
        "--interval",
        "15m",
        "--listen",
        "127.0.0.1:0",
        "--max-duration",
        "5m",
    ])
    .unwrap();
    assert_eq!(
        cli.flag_values().iter().map(|f| f.path).collect::<Vec<_>>(),
        ["max_duration", "interval"]
    );
    assert!(parse(&["watch", "--explain"]).is_err());
}

#[test]
fn times_are_days_or_instants() {
    assert_eq!(
        time("2026-04-27").unwrap().to_rfc3339(),
        "2026-04-27T00:00:00+00:00"
    );
    assert_eq!(
        time("2026-04-27T15:45:07+02:00").unwrap().to_rfc3339(),
        "2026-04-27T13:45:07+00:00"
    );
    assert!(time("yesterday").is_err());
}

#[test]
fn flags_that_exclude_each_other_are_refused() {
    assert!(
        parse(&["run", "--explain"])
            .unwrap_err()
            .contains("plan --explain")
    );
    assert!(parse(&["run", "--dry-run", "--explain"]).is_ok());
    assert!(
        parse(&["ls", "--from", "2026-05-01", "--to", "2026-04-01"])
            .unwrap_err()
            .contains("is not before")
    );
    assert!(
        parse(&["demo", "--tenant", "acme"])
            .unwrap_err()
            .contains("--tenants")
    );
}

#[test]
fn a_usage_error_is_one_line_with_a_tip() {
    let text = parse(&["run", "--stratgy", "full"]).unwrap_err();
    assert_eq!(
        text,
        "unexpected argument '--stratgy' found (a similar argument exists: '--strategy'); \
         `icepack --help` says what there is"
    );
    let text = parse(&["statsu"]).unwrap_err();
    assert!(
        text.starts_with("unrecognized subcommand 'statsu' (") && text.contains("status"),
        "{text}"
    );
    for args in [
        &["ls", "--from", "soon"][..],
        &["--color", "red", "run"],
        &["demo", "--files", "0"],
    ] {
        assert!(!parse(args).unwrap_err().contains('\n'), "{args:?}");
    }
}

fn env(pairs: &[(&str, &str)]) -> Environment {
    Environment::new(
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    )
}

fn directives(args: &[&str], vars: &[(&str, &str)]) -> crate::Result<String> {
    let cli = Cli::parse_from(["icepack", "status"].iter().chain(args));
    cli.global
        .log_filter(&env(vars), false, false)
        .map(|f| f.to_string())
}

#[test]
fn a_flag_for_logs_beats_the_environment() {
    let debug = [("ICEPACK_LOG", "debug")];
    let plain =
        |level: &str| format!("rustls_platform_verifier=off,aws_config=error,icepack={level},warn");
    assert_eq!(directives(&[], &[]).unwrap(), plain("info"));
    assert_eq!(directives(&[], &debug).unwrap(), plain("debug"));
    assert_eq!(
        directives(&["--log-level", "error"], &debug).unwrap(),
        plain("error")
    );
    assert_eq!(directives(&["-q"], &debug).unwrap(), plain("warn"));
    assert_eq!(directives(&["-v"], &[]).unwrap(), plain("info"));
    assert_eq!(directives(&["-vv"], &[]).unwrap(), plain("debug"));
    // Beside bars, what is going well is not told line by line.
    let cli = Cli::parse_from(["icepack", "run"]);
    let on_a_terminal = |vars| {
        let filter = cli.global.log_filter(&env(vars), true, false);
        filter.unwrap().to_string()
    };
    assert_eq!(on_a_terminal(&[]), plain("warn"));
    assert_eq!(on_a_terminal(&debug), plain("debug"));
    assert_eq!(
        directives(&["--log-level", "icepack=trace,hyper=debug"], &[]).unwrap(),
        "icepack=trace,hyper=debug"
    );
    assert!(directives(&["--log-level", "loud"], &[]).is_err());
}

#[test]
fn the_log_format_is_text_or_json() {
    let cli = Cli::parse_from(["icepack", "status"]);
    assert_eq!(cli.global.log_format(&env(&[])).unwrap(), LogFormat::Text);
    assert_eq!(
        cli.global
            .log_format(&env(&[("ICEPACK_LOG_FORMAT", "json")]))
            .unwrap(),
        LogFormat::Json
    );
    assert!(
        cli.global
            .log_format(&env(&[("ICEPACK_LOG_FORMAT", "xml")]))
            .is_err()
    );
}
