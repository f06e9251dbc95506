//! Writes HTML pages to the store. They are no state and nothing reads them back, so they may be
//! replaced.

use object_store::{Attribute, Attributes, ObjectStore, PutOptions, PutPayload};

use super::path;
use crate::error::{Error, Result};

/// Puts an HTML page where the last one was.
///
/// # Errors
/// [`Error::Store`] where the store does not take it.
pub async fn page(store: &dyn ObjectStore, key: &str, html: String) -> Result<()> {
    let (at, payload) = (path(key)?, PutPayload::from(html));
    let attributes = Attributes::from_iter([(Attribute::ContentType, "text/html; charset=utf-8")]);
    let typed = PutOptions {
        attributes,
        ..PutOptions::default()
    };
    let put = match store.put_opts(&at, payload.clone(), typed).await {
        // A directory knows no types.
        Err(
            object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. },
        ) => store.put_opts(&at, payload, PutOptions::default()).await,
        put => put,
    };
    put.map(drop)
        .map_err(|e| Error::store(format!("cannot write the report `{key}`"), e))
}
