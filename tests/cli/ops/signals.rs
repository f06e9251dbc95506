//! A signal ends a command whose store does not answer.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{job, s3};

/// Settings for a bucket behind `endpoint`.
fn envs(endpoint: &str) -> Vec<(&'static str, String)> {
    let mut envs = s3::environment(endpoint);
    envs.push(("ICEPACK_STORE", "s3://events/prod".to_owned()));
    envs
}

/// Addresses where nobody listens, and where nobody answers.
fn away() -> (Vec<String>, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let open = silent.local_addr().unwrap();
    (
        vec![format!("http://{closed}"), format!("http://{open}")],
        silent,
    )
}

/// What a client says that has given up by itself.
const GIVEN_UP: &str = "tried again 10 times";

fn start(envs: &[(&'static str, String)], args: &[&str]) -> Child {
    let mut command = job::icepack(envs);
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Sends `signal` to a command that waits for its store; its exit code, what it said, and after how
/// long it ended.
fn signalled(
    envs: &[(&'static str, String)],
    args: &[&str],
    signal: &str,
) -> (Option<i32>, String, Duration) {
    // Waits are drawn at random: ten of them may be over soon.
    let mut all = (0..5).map(|_| signalled_once(start(envs, args), signal));
    all.find(|(_, said, _)| !said.contains(GIVEN_UP))
        .expect("no attempt lasts")
}

/// Waits until the command does not die of `signal`, and is at its store by then.
fn await_handler(child: &mut Child, signal: &str) {
    let bit = if signal == "-INT" { 1 << 1 } else { 1 << 14 };
    let status = format!("/proc/{}/status", child.id());
    let catches = || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let mask = status.lines().find_map(|l| l.strip_prefix("SigCgt:"));
        mask.is_some_and(|m| u64::from_str_radix(m.trim(), 16).unwrap() & bit != 0)
    };
    let begun = Instant::now();
    while !catches() && child.try_wait().unwrap().is_none() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it waits for no signal"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
}

fn signalled_once(mut child: Child, signal: &str) -> (Option<i32>, String, Duration) {
    await_handler(&mut child, signal);
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "a child that is not waited for has its id");
    let at = Instant::now();
    let ended = loop {
        if child.try_wait().unwrap().is_some() {
            break at.elapsed();
        }
        if at.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let out = child.wait_with_output().unwrap();
    (out.status.code(), job::text(&out.stderr), ended)
}

#[test]
fn a_signal_ends_a_pass_and_a_restore_whose_store_does_not_answer() {
    let (endpoints, _silent) = away();
    let restore = ["restore", "--archive", "s3://cold/prod", "--tenant", "acme"];
    for endpoint in &endpoints {
        for (args, signal) in [
            (&["run"][..], "-INT"),
            (&["run"], "-TERM"),
            (&restore, "-INT"),
        ] {
            let (code, said, took) = signalled(&envs(endpoint), args, signal);
            let case = format!("{endpoint} {args:?} {signal}: {took:?}: {said}");
            assert_eq!(code, Some(130), "{case}");
            assert!(took < Duration::from_secs(5), "{case}");
            let last = said.lines().last().unwrap_or_default();
            assert!(last.starts_with("icepack: stopped by a signal; "), "{case}");
        }
    }
}

#[test]
fn a_signal_ends_watch_while_it_asks_when_the_last_pass_was() {
    let (endpoints, _silent) = away();
    for endpoint in &endpoints {
        let watch = ["watch", "--interval", "1h"];
        let (code, said, took) = signalled(&envs(endpoint), &watch, "-TERM");
        assert_eq!(code, Some(0), "{endpoint}: {said}");
        assert!(
            took < Duration::from_secs(5),
            "{endpoint}: {took:?}: {said}"
        );
    }
}
