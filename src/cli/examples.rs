//! What the help of each command ends with.

pub const TOP: &str = "\
Try it:
  icepack demo --store ./data              write raw events to play with
  icepack plan --store ./data              what a pass would do, and why
  icepack run  --store ./data --archive ./cold
  icepack status --store ./data

On your own data: `icepack init --store URL` looks at a store and writes an
icepack.toml for it.
Settings come from flags, ICEPACK_* variables, icepack.toml and defaults, in this
order; `icepack config show` lists them.
Credentials come from the AWS chain: environment, profile, web identity,
container, instance.
Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage or settings, 3 some
tenants failed or files were quarantined, 4 lost to a concurrent run, 5 refused
for safety, 6 not restored yet, 130 stopped by a signal.";

pub const RUN: &str = "\
Examples:
  icepack run --store s3://events/prod --archive s3://events-cold/prod
  icepack run --tenant acme --tenant 'eu-*'  only these
  icepack run --max-duration 50m             leave what is left to the next pass
  icepack run --report                       and put the report into the store
  icepack run --json | jq .totals.ledger";

pub const PLAN: &str = "\
Examples:
  icepack plan                   nothing is written
  icepack plan --explain acme    the reason for every file of tenant acme
  icepack plan --explain         the same of every tenant
  icepack plan --all             every tenant in full, where there are many
  icepack plan --json | jq .totals";

pub const WATCH: &str = "\
Examples:
  icepack watch --interval 15m
  icepack watch --listen 127.0.0.1:9464     serves /healthz and /metrics
The interval counts from the last pass that the store has a record of, so that
several watchers share it.";

pub const STATUS: &str = "\
Examples:
  icepack status
  icepack status --sort overdue    the longest overdue first
  icepack status --json | jq '.tenants[] | select(.overdue_s > 0)'
  icepack status --json | jq '.last_errors'";

pub const LS: &str = "\
Examples:
  icepack ls --tenant acme --from 2026-04-01 --to 2026-05-01
  duckdb -c \"SELECT count(*) FROM read_parquet([$(icepack ls | sed \"s/.*/'&'/\" | paste -sd,)])\"";

pub const VERIFY: &str = "\
Examples:
  icepack verify                         compares names, sizes and tags
  icepack verify --deep --tenant acme    reads every row back
Exit code 1 says that data is missing or damaged; each finding says what mends
it.";

pub const RESTORE: &str = "\
Examples:
  icepack restore --tenant acme --from 2026-01-01 --to 2026-02-01 --dry-run
  icepack restore --tenant acme --from 2026-01-01 --to 2026-02-01 --wait
  icepack restore --archive s3://events-cold/prod --into ./rescued --tenant '*'
The first shows what would be read and how long thawing takes. The last needs
no store. Exit code 6 says that objects are being thawed: nothing is wrong, and
the rows are not there yet.";

pub const DOCTOR: &str = "\
Examples:
  icepack doctor --store s3://events/prod --archive s3://events-cold/prod
Exit code 5 says that the store breaks a promise that safety rests on, 1 that
something does not work.";

pub const REPORT: &str = "\
Examples:
  icepack report --out report.html
  icepack report --publish    into the store, as _icepack/report.html
  icepack report --json       what the page is drawn from";

pub const INIT: &str = "\
Examples:
  icepack init --store s3://events/prod
  icepack init --store ./data --archive ./cold --out prod.toml
  icepack init --store ./data --out -    only print it";

pub const DEMO: &str = "\
Examples:
  icepack demo --store ./data
  icepack demo --store s3://events/try --files 40 --rows 1000
  icepack demo --store ./data --tenants acme,system=12x500 --seed 1 --end 2026-01-01";

pub const MAN: &str = "\
Example:
  icepack man --out ~/.local/share/man/man1 && man icepack-run";

pub const COMPLETIONS: &str = "\
Examples:
  icepack completions bash > ~/.local/share/bash-completion/completions/icepack
  icepack completions zsh  > ~/.zfunc/_icepack
  icepack completions fish > ~/.config/fish/completions/icepack.fish";
