//! Opens a manager or a restore by addresses: stores, credentials and the archive.

use std::sync::Arc;

use object_store::ObjectStore;

use crate::archive::{
    Archive, ArchiveOptions, ArchivePlace, ArchiveTarget, Attributes, backend_at,
};
use crate::clock::{Clock, SystemClock};
use crate::config::CompactionConfig;
use crate::error::{Error, Result};
use crate::pass::StopHandle;
use crate::pass::manager::CompactionManager;
use crate::protocol::marker::Root;
use crate::restore::Restorer;
#[cfg(feature = "cli")]
use crate::settings::Settings;
use crate::store::credentials::Connection;
use crate::store::object_writer::upload::Destination;
use crate::store::retry::RetryPolicy;
use crate::store::{Location, OpenOptions};
use icepack_core::model::marker::Role;
#[cfg(feature = "cli")]
use icepack_core::model::shard::Shard;

/// The addresses of a store and its archive, and the settings of the job.
#[derive(Debug, Clone)]
pub struct Places {
    /// The store that is compacted, or that rows are restored into.
    pub store: Location,
    /// The archive of expired rows. None drops them, or leaves them to the target of `config`.
    pub archive: Option<ArchivePlace>,
    /// The settings of the job.
    pub config: CompactionConfig,
    /// Gives times and ids.
    pub clock: Arc<dyn Clock>,
}

impl Places {
    /// The store at `url`: `s3://bucket/prefix`, a directory, `gs://…`, `az://…` or `memory://`.
    ///
    /// # Errors
    /// [`Error::Usage`] where `url` is none of these.
    pub fn new(url: &str, config: CompactionConfig) -> Result<Self> {
        Ok(Self {
            store: Location::parse(url)?,
            archive: None,
            config,
            clock: Arc::new(SystemClock::default()),
        })
    }

    /// The places of `settings`, for work on `store`.
    ///
    /// # Errors
    /// [`Error::Usage`] where the archive's address is none.
    #[cfg(feature = "cli")]
    pub(crate) fn of(
        settings: &Settings,
        store: Location,
        shard: Shard,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let place = |location| ArchivePlace {
            location,
            connection: settings.archive_connection(),
            options: settings.archive_options(),
        };
        Ok(Self {
            store,
            archive: settings.archive()?.map(place),
            config: CompactionConfig {
                shard,
                ..settings.compaction_config()
            },
            clock,
        })
    }
}

/// Opens the store with the credentials of the environment. The manager opens the archive when it
/// first needs it: [`CompactionManager::open_archive`] does that at once.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// # let dir = tempfile::tempdir().unwrap();
/// # std::fs::create_dir(dir.path().join("events")).unwrap();
/// # let (store, cold) = (format!("{}/events", dir.path().display()), format!("{}/cold", dir.path().display()));
/// # let (store, cold) = (store.as_str(), cold.as_str());
/// use std::time::Duration;
/// use icepack::archive::{ArchiveOptions, ArchivePlace};
/// use icepack::{CompactionConfig, Places};
///
/// let mut config = CompactionConfig::default();
/// config.retention.set("acme", Some(Duration::from_secs(365 * 86_400)));
/// // "s3://events/prod" and "s3://events-cold/prod"
/// let places = Places {
///     archive: Some(ArchivePlace {
///         options: ArchiveOptions { storage_class: Some("GLACIER_IR".into()), ..Default::default() },
///         ..ArchivePlace::new(cold)?
///     }),
///     ..Places::new(store, config)?
/// };
/// let manager = icepack::open(places).await?;
/// assert_eq!(manager.compact().await?.files_compacted, 0);
/// # Ok::<(), icepack::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// [`Error::Usage`] where an address or the environment is wrong, or the archive and the store
/// overlap. Whether a bucket exists and allows access shows with the first request.
pub async fn open(places: Places) -> Result<CompactionManager> {
    let Places {
        store: location,
        archive,
        mut config,
        clock,
    } = places;
    if let Some(symlink) = &mut config.symlink {
        symlink.root.get_or_insert_with(|| location.uri());
    }
    let store = crate::store::open(&location, OpenOptions::default(), Arc::clone(&clock)).await?;
    let mut manager = CompactionManager::new(store.store, config)
        .with_clock(Arc::clone(&clock))
        .with_enclosing(store.enclosing);
    if let Location::Directory(root) = &location {
        manager = manager.with_directory(root);
    }
    if let Some(place) = archive {
        if place.location.overlaps(&location) {
            return Err(Error::Usage(format!(
                "the archive {} overlaps the store {location}: expired rows would go back among \
                 the live ones; use another bucket, or a prefix or directory outside the store",
                place.location
            )));
        }
        manager = manager.with_archive(Arc::new(Archive::at(place, &location, clock)));
    }
    Ok(manager)
}

/// Opens both places, to restore rows from the archive into the store. With `dry_run` no directory
/// is made, and none has to exist.
///
/// # Errors
/// As [`open`]; [`Error::Refused`] where a place is something else than what it is given as.
pub async fn open_restorer(places: Places, dry_run: bool, stop: StopHandle) -> Result<Restorer> {
    let Places {
        store: into,
        archive,
        config,
        clock,
    } = places;
    let time_columns = config.time_columns();
    let place = archive.ok_or_else(|| {
        Error::Usage(
            "no archive given: pass --archive URL, set ICEPACK_ARCHIVE_URL, or put [archive] url \
             = \"…\" into icepack.toml"
                .to_owned(),
        )
    })?;
    if place.location.overlaps(&into) {
        return Err(Error::Usage(format!(
            "--into {into} overlaps the archive {}: restored rows would lie among the archived \
             ones; use another bucket, prefix or directory",
            place.location
        )));
    }
    let archive = Archive::at(place, &into, Arc::clone(&clock));
    let open = archive.open(false).await?;
    let options = OpenOptions {
        create: !dry_run,
        ..OpenOptions::default()
    };
    let hot = crate::store::open(&into, options, Arc::clone(&clock)).await;
    if let Some(root) = open.root.clone() {
        // What is only read may lie inside another place.
        let enclosing = Vec::new();
        Root { enclosing, ..root }.check().await?;
    }
    let store = match hot {
        Err(_) if dry_run => open.backend.reader(),
        hot => {
            let hot = hot?;
            Root {
                role: Role::Store,
                store: Arc::clone(&hot.store),
                enclosing: hot.enclosing.clone(),
                exclude: config.exclude,
            }
            .check()
            .await?;
            hot.store
        }
    };
    Ok(Restorer {
        archive: archive.description(),
        into: into.to_string(),
        layout: config.layout,
        destination: destination(&into, &store).await?,
        cold: Arc::clone(&open.backend),
        store,
        time_columns,
        memory: config.memory_limit,
        prices: config.prices,
        clock,
        stop,
    })
}

/// How files are put into the destination: create only, wherever it is.
async fn destination(
    into: &Location,
    store: &Arc<dyn ObjectStore>,
) -> Result<Arc<dyn Destination>> {
    let retry = match into {
        // object_store cannot make the completion of an upload in parts conditional: the SDK can,
        // and tries nothing again by itself.
        Location::S3 { .. } => RetryPolicy::default(),
        _ => RetryPolicy::NEVER,
    };
    let options = ArchiveOptions {
        retry,
        ..ArchiveOptions::default()
    };
    let (connection, store) = (Connection::default(), Arc::clone(store));
    let backend = backend_at(into, &connection, store, &options, None).await?;
    Ok(backend.destination(Attributes::default(), &Arc::default()))
}
