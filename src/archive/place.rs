//! An archive that is opened when it is first needed, because planning must not depend on reaching
//! it.

use std::sync::Arc;

use object_store::ObjectStore;
use tokio::sync::OnceCell;

use super::s3::{self, S3Backend};
use super::{ArchiveBackend, ArchiveOptions, ObjectStoreBackend};
use crate::clock::Clock;
use crate::error::Result;
use crate::protocol::marker::Root;
use crate::store::credentials::Connection;
use crate::store::retry::RetryPolicy;
use crate::store::staged::Directory;
use crate::store::{Location, OpenOptions, open};
use icepack_core::model::inputs::Exclude;
use icepack_core::model::marker::Role;

/// Where an archive is, and how it is written to.
#[derive(Debug, Clone)]
pub struct ArchivePlace {
    /// Its address.
    pub location: Location,
    /// How its server is reached, where that differs from the store's.
    pub connection: Connection,
    /// How it is written to.
    pub options: ArchiveOptions,
}

impl ArchivePlace {
    /// The place at `url`, with the defaults.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) where `url` is not the address of a store.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self {
            location: Location::parse(url)?,
            connection: Connection::default(),
            options: ArchiveOptions::default(),
        })
    }
}

/// An archive that is open.
#[derive(Debug)]
pub struct OpenArchive {
    /// What stores its objects.
    pub backend: Arc<dyn ArchiveBackend>,
    /// Its root, to be checked and marked. None where the archive was given as a store.
    pub root: Option<Root>,
}

/// An archive at an address, of a job that works on a store.
#[derive(Debug)]
pub(super) struct Address {
    pub location: Location,
    pub connection: Connection,
    /// Bucket and prefix of the store, where the archive's credentials reach it on the same server.
    pub hot: Option<(String, String)>,
    pub directory: Option<Directory>,
    pub clock: Arc<dyn Clock>,
    pub opened: OnceCell<OpenArchive>,
}

impl Address {
    pub fn new(
        location: Location,
        connection: Connection,
        hot: &Location,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let hot = match (&location, hot) {
            // Another server, or other credentials, could not copy from the store.
            (Location::S3 { .. }, Location::S3 { bucket, prefix })
                if connection == Connection::default() =>
            {
                Some((bucket.clone(), prefix.clone()))
            }
            _ => None,
        };
        let directory = match &location {
            Location::Directory(root) => Some(Directory::new(root)),
            _ => None,
        };
        Self {
            location,
            connection,
            hot,
            directory,
            clock,
            opened: OnceCell::new(),
        }
    }

    /// Whether there is nothing yet that could be opened.
    pub fn is_missing(&self) -> bool {
        matches!(&self.location, Location::Directory(root) if !root.exists())
    }

    pub async fn open(&self, create: bool, options: &ArchiveOptions) -> Result<&OpenArchive> {
        let open_now = || async {
            let open_options = OpenOptions {
                create,
                connection: self.connection.clone(),
            };
            let found = open(&self.location, open_options, Arc::clone(&self.clock)).await?;
            let root = Root {
                role: Role::Archive,
                store: Arc::clone(&found.store),
                enclosing: found.enclosing,
                exclude: Exclude::default(),
            };
            let hot = self.hot.as_ref();
            let backend =
                backend_at(&self.location, &self.connection, found.store, options, hot).await?;
            Ok(OpenArchive {
                backend,
                root: Some(root),
            })
        };
        self.opened.get_or_try_init(open_now).await
    }
}

/// The backend at `location`, whose objects `store` reads. On S3, snapshots are copied from the
/// bucket and prefix of `hot`.
///
/// # Errors
/// [`Error::Usage`](crate::Error::Usage) where the endpoint is wrong.
pub async fn backend_at(
    location: &Location,
    connection: &Connection,
    store: Arc<dyn ObjectStore>,
    options: &ArchiveOptions,
    hot: Option<&(String, String)>,
) -> Result<Arc<dyn ArchiveBackend>> {
    let Location::S3 { bucket, prefix } = location else {
        let is_cloud = matches!(location, Location::Cloud { .. });
        let plain = ObjectStoreBackend {
            store,
            // Their clients try again by themselves, and two layers would multiply. A directory has
            // no client.
            retry: if is_cloud {
                RetryPolicy::NEVER
            } else {
                options.retry
            },
            send_class: is_cloud,
        };
        #[cfg(feature = "azure")]
        if let Location::Cloud { scheme, url } = location
            && scheme != "gs"
        {
            let backend = super::azure::AzureBackend::new(plain, url, options.retry)?;
            return Ok(Arc::new(backend));
        }
        return Ok(Arc::new(plain));
    };
    let bucket = s3::bucket::Bucket {
        client: s3::client::connect(connection).await?,
        name: bucket.clone(),
        prefix: prefix.clone(),
        retry: options.retry,
    };
    let backend = S3Backend::new(bucket, store, options);
    Ok(Arc::new(match hot {
        Some((bucket, prefix)) => backend.with_hot(bucket, prefix),
        None => backend,
    }))
}
