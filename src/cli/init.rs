//! `icepack init`: samples a store and writes a configuration to begin with.

use std::fs::OpenOptions as FileOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::format::{one_line, plural};
use crate::inspect::sample::sample_of;
use crate::inspect::survey::survey;
use crate::protocol::marker::Root;
use crate::settings::Source;
use crate::settings::propose::{Given, Proposal, propose};
use crate::store::{Location, OpenOptions};
use crate::{Error, Result};
use icepack_core::model::inputs::Files;
use icepack_core::model::marker::Role;
use icepack_core::model::names;
use icepack_core::model::report::SCHEMA_VERSION;
use icepack_core::model::sample::Sample;
use icepack_core::plan::recognise::{Recognised, recognise};
use object_store::ObjectStore;
use serde_json::json;

use super::app::App;
use super::args::InitArgs;

impl App<'_> {
    pub(super) async fn init(&mut self, args: &InitArgs) -> Result<u8> {
        let printed = args.out == Path::new("-");
        // Before the store is read, which may take its time.
        if !printed && !self.global.json && args.out.exists() {
            return Err(exists(&args.out));
        }
        let location = self.settings.store()?;
        let store = self.open(&location, OpenOptions::default()).await?;
        Root {
            role: Role::Store,
            store: Arc::clone(&store.store),
            enclosing: store.enclosing,
            exclude: self.settings.compaction_config().exclude,
        }
        .check()
        .await?;
        let given = self.given();
        let (recognised, sample) = self.look(&store.store, &given).await?;
        let archive = self.settings.archive()?.map(|a| a.to_string());
        let proposal = propose(
            &sample,
            &recognised,
            &given,
            &location.to_string(),
            archive.as_deref(),
            self.clock.now(),
        );
        if self.global.json {
            let Proposal {
                toml,
                open_questions,
                timestamp_column,
                likely_id,
            } = &proposal;
            self.out.json(&json!({
                "schema_version": SCHEMA_VERSION, "recognised": recognised, "sample": sample, "toml": toml, "open_questions": open_questions,
                "timestamp_column": timestamp_column, "id_column": null, "likely_id": likely_id
            }), self.json_logs)?;
            return Ok(0);
        }
        if printed {
            self.out.line(proposal.toml.trim_end())?;
            return Ok(0);
        }
        create(&args.out, &proposal.toml)?;
        self.out
            .line(&next_steps(args, &proposal, sample.tenants.len()))?;
        for (key, why) in sample.looked_at.iter().flat_map(|t| &t.unreadable) {
            self.out
                .line(&one_line(&format!("could not be read: `{key}`: {why}")))?;
        }
        if matches!(location, Location::Directory(_)) {
            let most = names::LONGEST_IN_STORE;
            let long = sample.tenants.iter().find_map(|t| names::too_long(t, most));
            long.map_or(Ok(()), |why| self.out.line(&one_line(&why)))?;
        }
        self.out.flush()?;
        for question in &proposal.open_questions {
            super::output::complain(&format!("to decide: {question}"));
        }
        Ok(0)
    }

    /// What is recognised, and a sample by that, but for what the owner has said.
    async fn look(
        &self,
        store: &Arc<dyn ObjectStore>,
        given: &Given,
    ) -> Result<(Recognised, Sample)> {
        let survey = survey(store).await?;
        let recognised = recognise(&survey.files, &survey.endings);
        let layout = given.layout.as_ref().unwrap_or(&recognised.layout);
        let mut rules = self.settings.compaction_config().input_rules();
        if given.files.is_none() && !recognised.files.is_empty() {
            rules.files = Files::parse(&recognised.files).map_err(Error::Usage)?;
        }
        let sample = sample_of(store, layout, &rules, &survey).await?;
        Ok((recognised, sample))
    }

    /// What the owner has said already.
    fn given(&self) -> Given {
        let config = self.settings.compaction_config();
        let is_set = |name: &str| self.settings.source(name) != Source::Default;
        let globs = config.files.patterns().into_iter().map(str::to_owned);
        Given {
            files: is_set("files").then(|| globs.collect()),
            layout: is_set("layout").then_some(config.layout),
        }
    }
}

fn exists(path: &Path) -> Error {
    Error::Usage(format!(
        "`{}` is there already and is not touched: name another file with --out, or print with \
         --out -",
        path.display()
    ))
}

/// Never in the place of another file, whoever made it meanwhile.
fn create(path: &Path, text: &str) -> Result<()> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => Error::local(format!("cannot write `{}`", path.display()), e),
    };
    let mut file = FileOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn next_steps(args: &InitArgs, proposal: &Proposal, tenants: usize) -> String {
    let or_open = |name: &Option<String>| name.clone().unwrap_or_else(|| "none found".to_owned());
    let config = if args.out == Path::new(crate::settings::DEFAULT_FILE) {
        String::new()
    } else {
        format!(" --config {}", args.out.display())
    };
    let lines = [
        format!(
            "wrote {}: {}, time of a row: {}, likely its id: {}",
            args.out.display(),
            plural(tenants as u64, "tenant"),
            or_open(&proposal.timestamp_column),
            or_open(&proposal.likely_id)
        ),
        "next:".to_owned(),
        format!("  icepack{config} config show     what holds, and where it came from"),
        format!(
            "  icepack{config} doctor          is the store safe to use? writes and removes small \
             probes"
        ),
        format!("  icepack{config} plan            what a pass would do; nothing is written"),
        format!("  icepack{config} run"),
    ];
    lines.join("\n")
}
